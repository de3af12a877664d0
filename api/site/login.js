// Login: code with PKCE. Only the verifier outlives the redirect.

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

export async function login({ domain, clientId }) {
  const [verifier, state] = [random(), random()];
  sessionStorage.setItem('login', JSON.stringify({ verifier, state, hash: location.hash }));
  const challenge = base64url(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier)));
  const query = new URLSearchParams({
    response_type: 'code', client_id: clientId, redirect_uri: `${location.origin}/`, scope: 'openid', state,
    code_challenge: challenge, code_challenge_method: 'S256',
  });
  location.assign(`https://${domain}/oauth2/authorize?${query}`);
}

/** Returns the token for a code, or nothing for a login that was not begun here. */
export async function redeem({ domain, clientId }, code, state) {
  const begun = JSON.parse(sessionStorage.getItem('login') || 'null');
  sessionStorage.removeItem('login');
  history.replaceState(null, '', `/${begun?.hash || ''}`);
  if (!begun || begun.state !== state) return null;
  const body = new URLSearchParams({
    grant_type: 'authorization_code', client_id: clientId, code, redirect_uri: `${location.origin}/`, code_verifier: begun.verifier,
  });
  const response = await fetch(`https://${domain}/oauth2/token`, { method: 'POST', body });
  if (!response.ok) throw new Error('The login did not work.');
  return (await response.json()).access_token;
}
