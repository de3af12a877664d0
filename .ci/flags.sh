# The compiler's flags for programs that are handed on. For `source` in the project's folder, by .ci/run and ./package: with
# flags of its own, each would build the dependencies again.
#
# The message of a panic names the source file. Without these flags, the paths of the sources and of cargo's cache would
# get into the programs, so that the same sources would give other bytes in another folder.
cargo fetch --quiet --locked
# Of cargo's variables for flags this is the only one to which cargo-lambda adds the processor's.
CARGO_BUILD_RUSTFLAGS="--remap-path-prefix=$PWD=."
for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    CARGO_BUILD_RUSTFLAGS+=" --remap-path-prefix=$folder=crates"
done
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS folder
export CARGO_BUILD_RUSTFLAGS
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
