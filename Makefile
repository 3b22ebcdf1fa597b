# `make up` shows sofs at work; `make test` checks everything. Both install what they need first (tools/setup.sh).
PY = .venv/bin/python
SEEDS ?= 50
FUZZ_SECONDS ?= 60
JOBS ?= 4
PORT ?= 4450
TORTURE ?= 4.17
SERVER ?= pool
CI_LIMIT = 55m

.PHONY: help up test setup lint types unit interop torture bench simulate fuzz clean

help:
	@echo 'make up        a demo pool, volume and share, served in the foreground (Ctrl-C ends it)'
	@echo 'make test      everything: lint, types, unit, interop'
	@echo 'make lint | types | unit | interop     one part of it'
	@echo 'make torture   every smb2.* test of smbtorture, compared with what is expected (TORTURE=4.22 SERVER=serve)'
	@echo 'make bench     speed, beside smbd and impacket'
	@echo 'make simulate SEEDS=1000    seeded simulation'
	@echo 'make fuzz FUZZ_SECONDS=600  mutated requests against a running server'

up:
	@tools/setup.sh run
	@exec .venv/bin/sofs up --port $(PORT)

setup:
	@tools/setup.sh test

test:
	@tools/setup.sh vm
	timeout --foreground -k 30 $(CI_LIMIT) $(MAKE) --no-print-directory checks

.PHONY: checks
checks: lint types
	$(PY) -m pytest tests -q
	$(PY) -m pytest interop -q

lint: setup
	.venv/bin/ruff check .

types: setup
	.venv/bin/mypy $(wildcard smbproto smbsrv smbclient storage cluster interop bench)

unit: setup
	$(PY) -m pytest tests -q

interop: setup
	$(PY) -m pytest interop -q

torture: setup
	$(PY) -m interop.torture --jobs $(JOBS) --version $(TORTURE) --server $(SERVER)

bench: setup
	$(PY) -m bench

simulate: setup
	$(PY) -m pytest tests/sim -q --seeds $(SEEDS)

fuzz: setup
	$(PY) -m interop.fuzz --seconds $(FUZZ_SECONDS)

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
