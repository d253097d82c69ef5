#!/bin/sh
# Has the alert rules checked by Prometheus's own tool, and tried on made-up series: alerts.sh
#
# Without promtool it says so and passes; on Debian it is in the package prometheus.
set -eu

cd "$(dirname "$0")/.."
if ! command -v promtool >/dev/null 2>&1; then
    echo 'alerts.sh: NOT CHECKED: there is no promtool' >&2
    exit 0
fi
promtool check rules conf/prometheus/alerts.yaml
promtool test rules tests/alerts/rules.test.yaml
