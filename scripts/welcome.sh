#!/usr/bin/env bash
# What `make run` prints before the broker starts: what to try next.
address=${GOQUEUE_LISTENERS_HTTP:-127.0.0.1:8080}
cat <<EOT
The broker listens on http://$address (Ctrl-C stops it, data stays in ${GOQUEUE_BROKER_DATADIR:-./data}). In another terminal:

  curl -X POST http://$address/topics -d '{"name":"orders","num_partitions":3}'
  curl -X POST http://$address/topics/orders/messages -d '{"messages":[{"value":"hello"}]}'
  curl http://$address/topics/orders/partitions/0/messages
  build/goqueue bench publish --url http://$address --duration 5s

EOT
