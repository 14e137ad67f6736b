#!/bin/sh
# Tables, then everything that `essence run` makes, in phones: sh examples/fillets/fillets.sh [options of essence run]
set -e
here=$(dirname "$0")
[ -f fillets-data/phones.tsv ] || python "$here/prepare.py" fillets-data
exec essence run --config "$here/fillets.yaml" "$@"
