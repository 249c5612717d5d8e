# Everything works on a machine that has only Go, git and make; what needs more says so.
# CI=true: a missing tool is a failure instead of a skip (govulncheck and buf excepted).

GO       ?= go
BUILD    := .build
TOOLS    := $(CURDIR)/$(BUILD)/tools
FUZZTIME ?= 30s
CRASHES  ?= 20000
HISTORIES ?= 10000
export PATH := $(TOOLS):$(PATH)

# Without cgo everywhere but for the race detector: what another setting compiles is of no use
# to the rest. Vetting is for lint, which does all of it, once.
GOTEST = CGO_ENABLED=0 $(GO) test -vet=off
KANTA  = $(BUILD)/kanta$$($(GO) env GOEXE)

# missing ends a recipe's line: a named skip, or a failure in CI.
missing = if [ "$$CI" = true ]; then echo "$@: $(1) is missing"; exit 1; else echo "$@: skipped, $(1) is missing"; fi

.PHONY: help build test cluster-test cluster-short cluster-canary cluster-net cluster-upgrade trial test-s3 test-e2e race rot hostile lint tidy proto proto-check proto-breaking fuzz crash crash-short crash-canary bench bench-smoke soak bench-duckdb demo clean

help:
	@echo 'make build        the command, in $(BUILD)/kanta'
	@echo 'make test         all tests, without cgo'
	@echo 'make test-s3      backups to a server of the S3 protocol, which the test runs (fetches Go modules)'
	@echo 'make test-e2e     a running server, asked by curl, by a gRPC client and by CRoaring (fetches Go modules; needs curl, node and npm)'
	@echo 'make race         the tests, in their short form, under the race detector (needs a C compiler)'
	@echo 'make rot          1,000 flipped bits in each kind of file of a store, and other damage (some ten minutes)'
	@echo 'make lint         gofmt, vet, staticcheck, the tidy test, the messages of the server, govulncheck'
	@echo 'make hostile      a million mutated frames to a server, a thousand slow readers, half-open handshakes, a flood (some ten minutes)'
	@echo 'make proto        the code of the messages of the server anew (needs buf and its two plugins)'
	@echo 'make fuzz         every fuzz target for FUZZTIME ($(FUZZTIME))'
	@echo 'make crash        power cuts at CRASHES ($(CRASHES)) moments, every operation of the disk failing; KANTA_SEED repeats a run'
	@echo '                  (KANTA_SCENARIO=backups: of one scenario; replicas: of a replica)'
	@echo 'make crash-short  a sample of it, in some two minutes'
	@echo 'make cluster-test HISTORIES ($(HISTORIES)) histories of a cluster in which things go wrong (some hours); KANTA_HISTORY repeats one'
	@echo 'make cluster-short  some of them, in four minutes'
	@echo 'make cluster-canary  bugs that are planted in a cluster are found in its histories'
	@echo 'make cluster-net  a cluster of processes in network namespaces, to which everything happens (some ten minutes; needs Linux, root and'
	@echo '                  iproute2); KANTA_NET=cut,kill names scenes, KANTA_SEED repeats a run'
	@echo 'make cluster-upgrade  members change to other builds one after another, while clients write and ask (builds three programs; needs the history of git)'
	@echo 'make trial        a store whose builds know other versions of a cluster'
	@echo 'make crash-canary bugs that are planted turn their tests red'
	@echo 'make bench        all benchmarks'
	@echo 'make bench-smoke  every benchmark once, and some seconds of the mixed load'
	@echo 'make soak         two hours of mixed load in ten minutes, and what grows meanwhile'
	@echo 'make bench-duckdb the questions in DuckDB too, in the same run (needs a C compiler and npm; DUCKDB=flags)'
	@echo 'make demo         a million made-up customers: load them, ask about them'
	@echo 'make clean        remove $(BUILD)'

build:
	@mkdir -p $(BUILD)
	CGO_ENABLED=0 $(GO) build -trimpath -o $(KANTA) ./cmd/kanta

# The tidy test reads files that the test cache does not know of: it always runs.
tidy:
	$(GOTEST) -count=1 -run '^TestTidy' ./engine/enginetest

test: tidy
	$(GOTEST) -timeout 20m ./...

# A module of its own: the server has more dependencies than all the rest.
test-s3:
	cd engine/s3/servertest && CGO_ENABLED=0 $(GO) vet . && $(GOTEST) -timeout 15m .

# A module of its own, as clients of others' making bring what they need. What is missing is
# skipped by name; with CI=true it is a failure.
test-e2e:
	cd server/e2e && CGO_ENABLED=0 $(GO) vet . && $(GOTEST) -count=1 -timeout 15m .

# The other packages of index, and query/syntax, are functions of their arguments: there is
# nothing to race for.
RACED = ./bench/... ./cmd/... ./engine/... ./query ./index/timeline ./server/...

race:
	@if command -v "$$($(GO) env CC)" >/dev/null; then \
		echo 'CGO_ENABLED=1 $(GO) test -vet=off -race -short -timeout 30m $(RACED)'; CGO_ENABLED=1 $(GO) test -vet=off -race -short -timeout 30m $(RACED); \
	else $(call missing,a C compiler); fi

rot:
	KANTA_ROT=1 $(GOTEST) -count=1 -timeout 60m -run '^Test(Rot|RotCanary|ValuesRot)$$' -v ./engine

hostile:
	KANTA_HOSTILE=1000000 $(GOTEST) -count=1 -timeout 60m -run '^Test(MutatedFrames|SlowReaders|HalfOpen|Flood)$$' -v ./server

# buf v1.75.0, protoc-gen-go v1.36.12 and protoc-gen-connect-go v2.0.2, each by go install.
PROTO = server/internal/proto
buf   = command -v buf >/dev/null && command -v protoc-gen-go >/dev/null && command -v protoc-gen-connect-go >/dev/null

proto:
	@if $(buf); then cd $(PROTO) && buf lint && buf generate; else $(call missing,buf or a plugin of it); fi

proto-check:
	@if ! { $(buf); }; then echo 'proto-check: skipped, buf or a plugin of it is missing'; exit 0; fi; \
		rm -rf $(BUILD)/proto && mkdir -p $(BUILD)/proto && cd $(PROTO) && buf lint && buf generate -o $(CURDIR)/$(BUILD)/proto && \
		diff -r -x '*.proto' kanta $(CURDIR)/$(BUILD)/proto/kanta

# What other versions of programs read may not change: compared is with the commit before.
proto-breaking:
	@if ! command -v buf >/dev/null; then echo 'proto-breaking: skipped, buf is missing'; exit 0; fi; \
		if ! git rev-parse -q --verify 'HEAD~1^{commit}' >/dev/null; then echo 'proto-breaking: skipped, there is no commit to compare with'; exit 0; fi; \
		rm -rf $(BUILD)/before && mkdir -p $(BUILD)/before && git archive HEAD~1 $(PROTO) | tar -x -C $(BUILD)/before && \
		cd $(PROTO) && buf breaking --against $(CURDIR)/$(BUILD)/before/$(PROTO)

lint: tidy proto-check proto-breaking
	@unformatted=$$(gofmt -l bench cmd engine index query $(wildcard server)) && \
		if [ -n "$$unformatted" ]; then echo "gofmt -w is due for:"; echo "$$unformatted"; exit 1; fi
	CGO_ENABLED=0 $(GO) vet ./...
	@if command -v staticcheck >/dev/null; then echo 'staticcheck ./...'; CGO_ENABLED=0 staticcheck ./...; \
	else $(call missing,staticcheck); fi
	@if ! command -v govulncheck >/dev/null; then echo 'lint: govulncheck skipped, it is missing'; exit 0; fi; \
		echo 'govulncheck ./...'; mkdir -p $(BUILD); CGO_ENABLED=0 govulncheck ./... >$(BUILD)/govulncheck.txt 2>&1; rc=$$?; \
		case $$rc in \
		0) ;; \
		3) cat $(BUILD)/govulncheck.txt; exit 1 ;; \
		*) echo "lint: govulncheck skipped, it cannot run: $$(grep -m 1 . $(BUILD)/govulncheck.txt)" ;; \
		esac

fuzz:
	@mkdir -p $(BUILD)
	@$(GOTEST) -list '^Fuzz' ./... >$(BUILD)/fuzz.txt || { cat $(BUILD)/fuzz.txt; exit 1; }
	@awk '/^Fuzz/ {f[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, f[i]; n = 0}' $(BUILD)/fuzz.txt | \
		while read -r package target; do \
			echo "$$package $$target"; \
			$(GOTEST) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$package" || exit 1; \
		done

cluster-test cluster-short:
	$(if $(filter cluster-test,$@),KANTA_HISTORIES=$(HISTORIES),KANTA_HISTORY_FOR=4m) GOGC=400 $(GOTEST) -count=1 -timeout 24h -v -run '^TestHistories$$' ./server/internal/replica

cluster-net:
	KANTA_NET=$(or $(KANTA_NET),all) $(GOTEST) -count=1 -timeout 3h -v -run '^TestClusterNet$$' ./cmd/kanta

# Versions of the cluster: what the tag trial adds to this tree, and the builds of before.
trial:
	$(GOTEST) -count=1 -timeout 10m -tags trial -run '^Test(RaiseVersion|Versions|UnknownVersion)$$' ./engine

cluster-upgrade: trial
	CGO_ENABLED=0 KANTA_UPGRADE=1 $(GO) test -count=1 -timeout 20m -run '^TestUpgrade$$' -v ./cmd/kanta

crash crash-short:
	KANTA_CRASH=$(if $(filter crash,$@),$(CRASHES),5000) $(GOTEST) -count=1 -timeout 180m -v -run '^Test(Crash|Error|ReplicaCrash)Points$$' ./engine
	$(if $(filter crash,$@),KANTA_LONG=1 $(GOTEST) -count=1 -timeout 180m -run '^Test(Crash|Cases)$$' ./engine)

# Each planted bug (see engine/internal/canary) and the test that must turn red.
CANARIES = position=TestCrashPoints export=TestExportModel import=TestExportActs backup=TestBackupUnderWrites restore=TestCrashInRestore \
	ledger=TestErasedStayErased repair=TestRepair check=TestRepair erase=TestErasedCanaries purge=TestErasedCanaries replica=TestReplicas

crash-canary:
	@mkdir -p $(BUILD)
	@$(GOTEST) -c -tags canary -o $(BUILD)/canary.test ./engine
	@cd engine && for canary in $(CANARIES); do \
		bug=$${canary%=*} test=$${canary#*=}; \
		if KANTA_CANARY=$$bug KANTA_SCENARIO=values ../$(BUILD)/canary.test -test.timeout 5m -test.run "^$$test\$$" >../$(BUILD)/canary.txt 2>&1 || \
			! grep -q "^--- FAIL: $$test" ../$(BUILD)/canary.txt; then \
			cat ../$(BUILD)/canary.txt; echo "crash-canary: the planted bug $$bug was not found by $$test"; exit 1; fi; \
		echo "$$bug: found by $$test"; \
	done

# Each planted bug (see server/internal/canary) and what the test of histories must say of it.
CLUSTER_CANARIES = acknowledge=state: acts=events: clock=digests: count=segment: least=position: repeat=state: stale=staleness: verify=linearizable:

cluster-canary:
	@mkdir -p $(BUILD)
	@$(GOTEST) -c -tags canary -o $(BUILD)/cluster-canary.test ./server/internal/replica
	@cd server/internal/replica && for canary in $(CLUSTER_CANARIES); do \
		bug=$${canary%=*} what=$${canary#*=} out=../../../$(BUILD)/cluster-canary.txt; \
		if GOGC=400 KANTA_CANARY=$$bug KANTA_HISTORIES=200 ../../../$(BUILD)/cluster-canary.test -test.timeout 2m -test.run '^TestHistories$$' >$$out 2>&1 || \
			! grep -q "_test.go:[0-9]*: $$what" $$out; then \
			tail -n 50 $$out; echo "cluster-canary: the planted bug $$bug was not found ($$what)"; exit 1; fi; \
		echo "$$bug: found ($$what)"; \
	done

# The packages that have benchmarks: a test of each of the others would be linked for nothing.
BENCHED = $$(grep -rl --include='*_test.go' '^func Benchmark' bench cmd engine index query server | grep -v -e '^server/e2e/' -e '^engine/s3/servertest/' | \
	sed 's,^,./,; s,/[^/]*$$,,' | sort -u)

bench:
	$(GOTEST) -run '^$$' -bench . -benchmem $(BENCHED)

bench-smoke: build
	$(GOTEST) -short -run '^$$' -bench . -benchtime 1x $(BENCHED)
	$(KANTA) bench --profiles 5000 --runs 1 --segments 5 --mix 50ms --write 50ms
	@mkdir -p $(BUILD)
	@$(KANTA) bench soak --duration 6s --profiles 20000 --events 200000 >$(BUILD)/soak.txt 2>&1; rc=$$?; tail -n 10 $(BUILD)/soak.txt; \
		if [ $$rc -ne 0 ] && grep -q '^void: ' $(BUILD)/soak.txt; then echo 'bench-smoke: the soak is void, the machine is too busy'; exit 0; fi; exit $$rc

soak: build
	$(KANTA) bench soak

bench-duckdb:
	bench/duckdb/fetch.sh
	cd bench/duckdb && CGO_ENABLED=1 CGO_LDFLAGS='-L$(CURDIR)/$(BUILD)/duckdb -Wl,-rpath,$(CURDIR)/$(BUILD)/duckdb' \
		$(GO) run -tags duckdb_use_lib . $(DUCKDB)

demo: build
	$(KANTA) demo

clean:
	rm -rf $(BUILD)
