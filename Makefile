# Everything a contributor or a curious reader types. `make` alone lists it.

CARGO ?= cargo
# Further arguments of the demonstration, for example: make demo ARGS='--once --scale 1'
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo build test dev fmt lint setup

help: ## list the targets
	@echo 'usage: make TARGET'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## try it: an S3 origin, s3proxy, DuckDB with and without it
	$(CARGO) build --release --features demo
	@exec "$${CARGO_TARGET_DIR:-target}/release/s3proxy-demo" run $(ARGS)

build: ## build the proxy for production
	$(CARGO) build --release

test: ## run every test
	tests/run-all.sh

dev: ## run the proxy, rebuild and restart it on each change (ARGS='-c FILE')
	@tests/dev.sh $(ARGS)

fmt: ## format the code
	$(CARGO) fmt

lint: ## what has to be clean before a commit
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --features demo --all-targets -- -D warnings

setup: ## install missing system packages (Debian and Ubuntu)
	@tests/setup-debian.sh
