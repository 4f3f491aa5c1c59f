# The two commands a newcomer needs: `make demo` and `make test`. Both install what they need.
GO      ?= go
BIN     := $(CURDIR)/dist/holdfast
VERSION ?= 0.1.0-dev
LDFLAGS := -s -w -X github.com/holdfast-dr/holdfast/cmd/internal/command.Version=$(VERSION)

.PHONY: all build demo test test-short lint bench deps clean

all: build

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/holdfast

# Runs the quickstart example on sample data in a temporary directory, and says what it does.
demo: deps build
	./examples/quickstart/demo.sh $(BIN)

# Everything: the whole suite with every crash point and seeded bug, then what is short once more under the race detector. The scripts of
# the program run there only where several things happen at a time.
test: deps lint
	$(GO) test -timeout 20m ./...
	$(GO) test -race -short -timeout 20m $$($(GO) list ./... | grep -v /cmd/holdfast)
	$(GO) test -race -short -timeout 20m -run 'TestScript/(concurrent|first|lock|stop)$$' ./cmd/holdfast

test-short:
	$(GO) test -short ./...

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) test -count=1 -run 'TestImports' ./cmd/holdfast

# Speed, next to peers measured in the same run.
bench: deps build
	$(call install,restic borg=borgbackup)
	HOLDFAST=$(BIN) $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./cmd/holdfast
	$(GO) test -run '^$$' -bench . -timeout 60m ./config/... ./reconcile/... ./state/... ./providers/...

# Programs that tests, demo and benchmarks start: installed only when one is missing.
deps:
	$(call install,git sqlite3 rsync zstd tar age /usr/lib/postgresql/*/bin/postgres=postgresql)

# Installs the Debian packages of the programs that are not there: PROGRAM, or PROGRAM=PACKAGE.
define install
	@missing=""; for p in $(1); do command -v $${p%%=*} >/dev/null || missing="$$missing $${p##*=}"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing:$$missing"; \
		if [ "$$(id -u)" = 0 ]; then apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q $$missing; \
		else sudo apt-get update -q && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -q $$missing; fi; \
	fi
endef

clean:
	rm -rf dist
