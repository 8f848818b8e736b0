#!/usr/bin/env bash
# Runs a command with a server of S3 beside it, on loopback: AWS_… say how it is reached, VITAGO_S3_TEST which bucket it has.
#
#   server.sh VERSITYGW COMMAND [ARGUMENT]...
set -euo pipefail

gateway=$1
shift
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
mkdir -p "$dir/data/vitago" # a folder is a bucket

export AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=secret-of-the-test AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
export AWS_CONFIG_FILE=$dir/none AWS_SHARED_CREDENTIALS_FILE=$dir/none AWS_PROFILE= AWS_SESSION_TOKEN=
for _ in 1 2 3 4 5; do # a port may be in use
	port=$((20000 + RANDOM % 12000))
	"$gateway" --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" --region "$AWS_REGION" --port "127.0.0.1:$port" posix "$dir/data" >"$dir/log" 2>&1 &
	pid=$!
	for _ in $(seq 100); do
		kill -0 "$pid" 2>/dev/null || break
		if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			export AWS_ENDPOINT_URL=http://127.0.0.1:$port VITAGO_S3_TEST=s3://vitago
			"$@"
			exit
		fi
		sleep 0.1
	done
	kill "$pid" 2>/dev/null || true
done
echo "server.sh: $gateway does not start:" >&2
tail -n 20 "$dir/log" >&2
exit 1
