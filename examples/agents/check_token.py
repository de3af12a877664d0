"""Checks the token that agent-trigger sends, for an agent that has no gateway in front of it."""

import os

import jwt
from fastapi import Header, HTTPException

ISSUER = os.environ["COGNITO_ISSUER"]  # https://cognito-idp.REGION.amazonaws.com/USER_POOL_ID
CLIENT_ID = os.environ["COGNITO_CLIENT_ID"]
SCOPE = os.environ.get("COGNITO_SCOPE", "agent/invoke")
KEYS = jwt.PyJWKClient(os.environ.get("COGNITO_KEYS", f"{ISSUER}/.well-known/jwks.json"))


def check_token(authorization: str = Header("")):
    """Refuse every call whose bearer token is not the machine client's. Use it as a FastAPI dependency."""
    token = authorization.removeprefix("Bearer ")
    try:
        key = KEYS.get_signing_key_from_jwt(token)
        # Cognito's access tokens have client_id where others have an audience.
        options = {"require": ["exp", "iss"], "verify_aud": False}
        claims = jwt.decode(token, key, algorithms=["RS256"], issuer=ISSUER, options=options)
    except jwt.PyJWTError as error:
        raise HTTPException(401, "the token is not valid") from error
    if claims.get("token_use") != "access" or claims.get("client_id") != CLIENT_ID:
        raise HTTPException(403, "the token is another client's")
    if SCOPE not in claims.get("scope", "").split():
        raise HTTPException(403, "the token has another scope")
    return claims
