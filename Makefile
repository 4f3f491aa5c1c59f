# The two commands a newcomer needs: `make demo` and `make test`. Both install what they need.
GO      ?= go
BIN     := $(CURDIR)/dist/holdfast
VERSION ?= 0.1.0-dev
LDFLAGS := -s -w -X github.com/holdfast-dr/holdfast/cmd/internal/command.Version=$(VERSION)

.PHONY: all build demo test test-long test-short lint analyse bench deps clean

all: build

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/holdfast

# Runs the quickstart example on sample data in a temporary directory, and says what it does.
demo: deps build
	./examples/quickstart/demo.sh $(BIN)

# The whole suite, in which long stories are told in samples, then smaller samples of what happens at a time once more under the race detector: of
# the program's scripts only those. SEED draws the samples; what was drawn with one is drawn with it again.
test: deps analyse
	@echo "samples: make test SEED=$(SEED)"
	$(TEST) -timeout 20m $(PACKAGES)
	$(RACE) $(RACED)
	$(RACE) -run 'TestScript/(concurrent|first|lock|stop)$$' ./cmd/holdfast

# All that samples are drawn from: every crash point of every story, every weakened flush, every history. It prints what was covered.
test-long: deps
	@mkdir -p dist
	HOLDFAST_TEST_LONG=1 $(TEST) -v -timeout 120m $(PACKAGES) >dist/test-long.log || { grep -B 20 -E '^ *--- FAIL|^FAIL' dist/test-long.log; exit 1; }
	@grep -hoE 'fault [0-9]+: .*|^=== RUN +TestKilledAnywhere/.*|[0-9]+ crash points, .*|there are [0-9]+ .*|caught in .*|^ok .*' dist/test-long.log

# The longest first, so that none is waited for at the end.
PACKAGES := ./reconcile/execute ./providers/postgresql ./cmd/holdfast/... ./...

# The race pass takes the packages in which something happens at a time: those whose code or tests start it, share memory or locks for it, or have
# it done by ours that do. In the others, the pure ones above all, a race detector finds nothing and costs a compilation and a link each. Of their tests
# it leaves out those that read a lot or are another test once more and, by -short, those that say so themselves. (config/schedule has a lock in a test only.)
RACED = $$(grep -rlE --include='*.go' '$(AT_A_TIME)' config providers reconcile state cmd/internal | xargs -n 1 dirname | sort -u | sed '/schedule$$/d; s|^|./|')
AT_A_TIME := go func|\.Go\(|^\s+go [a-z]|"sync/atomic"|sync\.[CMPRW]|/providers/(ahead|process)"
RACE = $(TEST) -race -short -timeout 20m -skip '^(TestFaultDamagedObjects|TestNoDiagnosticShowsASecret|TestNothingIsRestored|TestWhatAReadingDecides|TestAudit|TestHostileFiles|TestCostlyExpressions|TestDamage|TestHostileServer|TestHostileTrees|TestTotalLimit|TestUnreadableIsAnError)$$'

SEED := $(or $(SEED),$(shell date +%s))
TEST := HOLDFAST_TEST_SEED=$(SEED) .ci/in-memory $(GO) test -count=1 -vet=off -ldflags=-w

test-short:
	$(GO) test -short ./...

lint: analyse
	$(GO) test -count=1 -run 'TestImports' ./cmd/holdfast

# What `make test` needs of lint: its suite has TestImports.
analyse:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

# Speed of whole commands, next to peers measured in the same run.
bench: deps build
	$(call install,restic borg=borgbackup)
	HOLDFAST=$(BIN) $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./cmd/holdfast

# Programs that tests, demo and benchmarks start: installed only when one is missing.
deps:
	$(call install,git jq setfacl=acl setfattr=attr chattr=e2fsprogs sqlite3 rsync zstd tar age /usr/lib/postgresql/*/bin/postgres=postgresql)

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
