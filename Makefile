# Everything a contributor or a curious reader types. `make` alone lists it.

CARGO ?= cargo
# Further arguments, for example: make demo ARGS='--once --scale 1' or make test ARGS='fmt lint'
ARGS ?=
TARGET_DIR = $${CARGO_TARGET_DIR:-target}

.DEFAULT_GOAL := help
.PHONY: help demo build deb test compare lint fmt dev setup

help: ## list the targets
	@echo 'usage: make TARGET'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## try it: an S3 origin, s3proxy, DuckDB with and without it
	$(CARGO) build --locked --profile quick --features demo
	@exec "$(TARGET_DIR)/quick/s3proxy-demo" run $(ARGS)

build: setup ## build the proxy for production: target/release/s3proxy
	$(CARGO) build --locked --release

deb: build ## make the Debian package: target/debian/s3proxy_*.deb
	@packaging/deb.sh

test: ## run every check and every test, as CI does (ARGS='fmt lint' runs these steps)
	@tests/run-all.sh $(ARGS)

compare: setup ## measure s3proxy, nginx, Varnish and others side by side (ARGS='--quick' only tries it)
	@benches/compare/run.sh $(ARGS)

lint: ## what has to be clean before a commit
	@tests/run-all.sh fmt lint

fmt: ## format the code
	$(CARGO) fmt

dev: ## run the proxy, rebuild and restart it on each change (ARGS='-c FILE')
	@tests/dev.sh $(ARGS)

setup: ## install missing system packages (Debian and Ubuntu)
	@tests/setup-debian.sh
