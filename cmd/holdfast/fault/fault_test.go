// Package fault injects the faults that a backup system must survive into the real program, and prints what it measured.
//
//	go test -v -run TestFault ./...
//
// goals lists all of them. A fault that a suite elsewhere proves is not injected again: the list names its tests, and TestFaultList
// checks that they are there.
package fault_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/holdfast-dr/holdfast/cmd/internal/cli"
)

// goal is one fault and what must hold under it.
type goal struct {
	number int
	fault  string
	hold   string
	proof  []string // tests: package directory, then the name of the function
}

var goals = []goal{
	{1, "kill -9 at every step", "nothing listed as good fails a full read, nothing stays quiesced, the next run succeeds by itself",
		[]string{"reconcile/execute TestKilledAnywhere", "cmd/holdfast/fault TestFaultRandomKills", "providers/plain TestCrashInCommit", "providers/plain TestSweepAfterCrashes"}},
	{2, "power loss", "the commit point is never visible before its data; an acknowledged write to the state is kept or the state says that it cannot",
		[]string{"providers/plain TestPowerLoss", "providers/plain TestFaultPowerLossEverySyncMatters", "cmd/holdfast/fault TestFaultStateDisk", "cmd/holdfast/fault TestFaultStatePowerLoss",
			"cmd/holdfast/fault TestFaultStateMedium", "state/sqlstore TestDiskFull"}},
	{3, "disk full at byte n", "FAILED_STORE_SPACE, older artifacts readable, the room is given back, the state goes on",
		[]string{"cmd/holdfast/fault TestFaultDiskFull", "providers/plain TestFullAtEachStep"}},
	{4, "inodes gone, quota, read-only, EIO", "a typed reason, at most 3 attempts, no false success",
		[]string{"cmd/holdfast/fault TestFaultBadMedium", "cmd/holdfast/fault TestFaultMediumErrors", "providers/plain TestReadOnly", "providers/plain TestErrorsOfTheSystem"}},
	{5, "store unmounted", "no byte below the mount point, FAILED_STORE_IDENTITY_CHANGED, no success",
		[]string{"cmd/holdfast/fault TestFaultUnmounted", "providers/plain TestUnmounted"}},
	{6, "store swapped or rolled back", "refused before the capture, nothing written",
		[]string{"cmd/holdfast/fault TestFaultSwappedStore", "cmd/holdfast/fault TestFaultOldCopyOfAStore", "reconcile/execute TestAnotherCopyOfAStoreIsNotWrittenTo",
			"providers/plain TestEpoch", "providers/plain TestSwappedDirectory"}},
	{7, "storage that does not answer", "other work goes on, the blocked task ends with a reason",
		[]string{"cmd/holdfast/fault TestFaultBlockedSource", "cmd/holdfast/fault TestFaultBlockedStore"}},
	{8, "clocks", "each slot at most once, one run catches up, retention deletes nothing while the clock is doubted",
		[]string{"cmd/holdfast/fault TestFaultClock", "config/schedule TestCronAcrossClockChanges", "reconcile/planner TestPlan"}},
	{9, "wrong, lost and changed keys", "refused before the capture where it can be known, old artifacts readable with the old key, the message names the key",
		[]string{"cmd/holdfast/fault TestFaultKeys", "providers/plain TestKeysOfAStore"}},
	{10, "damage at rest", "all of it found by a full read, which comes in time by itself; artifact and store are named",
		[]string{"reconcile/execute TestFaultDamagedObjects", "reconcile/execute TestFaultStoreVanishes", "reconcile/planner TestEverythingIsReadInTime",
			"providers/plain TestCheckNamesWhatIsWrong", "providers/plain/codec TestEveryDamageIsSeen"}},
	{11, "catalogue damaged", "the gap is an alarm, the artifacts are listed",
		[]string{"reconcile/execute TestFaultCatalogueEntriesRemoved", "reconcile/execute TestAudit", "providers/plain TestDamagedCatalogIsFound", "providers/plain/chain TestAnyDamageIsFound"}},
	{12, "state lost or old", "the same list from the store alone, 10,000 artifacts in a minute, no slot runs twice, nothing is deleted for 7 days",
		[]string{"cmd/holdfast/fault TestFaultLostState", "cmd/holdfast/fault TestFaultOldStateRescanned", "reconcile/store TestRescanOfTenThousand",
			"reconcile/store TestRescanGivesTheArtifactsAndTheSchedule", "reconcile/execute TestNothingIsDeletedDuringAHold",
			"cmd/holdfast/fault TestFaultOldState", "cmd/holdfast/fault TestFaultDamagedState", "state/sqlstore TestBackupAndRestore", "providers/plain TestRecoverWithoutTheCatalogue"}},
	{13, "a source that fails, hangs or gives too little", "a typed reason, no artifact, unquiesced",
		[]string{"cmd/holdfast/fault TestFaultSource", "providers/command TestCaptureFails", "reconcile/execute TestUnquiescedOnEveryWayOut"}},
	{14, "quiesce refused, hanging, not undone", "the seed's steps 3, 8 and 11, times included",
		[]string{"reconcile/execute TestQuiescedBySomebodyElse", "reconcile/execute TestQuiesceTimeout", "reconcile/execute TestUnquiesceTimeout", "reconcile/execute TestMaxHold",
			"cmd/holdfast/fault TestFaultQuiesce"}},
	{15, "two agents, one slot", "one run; a process that lost its claim is refused",
		[]string{"cmd/holdfast/fault TestFaultTwoApplies", "reconcile/execute TestTakenOver", "state/sqlstore TestStoppedProcessIsFencedWhenItWakes"}},
	{16, "a window that closes", "waiting tasks are cancelled with the seed's code, running ones end as the window says",
		[]string{"reconcile/execute TestAtClose", "reconcile/execute TestWindows", "reconcile/execute TestWindowClosesWhileQuiesced", "reconcile/execute TestWaitsNoLongerThanADay"}},
	{17, "retention", "never below floors, never what is pinned, the same in any order and when done again, no matter the future",
		[]string{"reconcile/retention TestRandomHistories", "reconcile/execute TestRetentionLeavesWhatMustStay"}},
	{20, "secrets", "nowhere but in the program that needs them",
		[]string{"cmd/holdfast/fault TestFaultSecrets", "cmd/holdfast TestScript", "providers/secrets TestRedactor", "providers/postgresql TestSecretsStayAway", "reconcile/planner TestNoSecrets"}},
}

// figures are what the tests of this package measured, by fault.
var (
	figuresMu sync.Mutex
	figures   = map[int][]string{}
)

// figure prints what a test measured and keeps it for the table at the end.
func figure(t *testing.T, number int, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf("fault %02d: %s", number, fmt.Sprintf(format, args...))
	if t.Failed() {
		line = fmt.Sprintf("fault %02d: DOES NOT HOLD, see %s", number, t.Name())
	}
	t.Log(line)
	figuresMu.Lock()
	defer figuresMu.Unlock()
	figures[number] = append(figures[number], line)
}

// table runs the tests and prints their figures together.
type table struct{ *testing.M }

func (m table) Run() int {
	code := m.M.Run()
	if testing.Verbose() && len(figures) > 0 {
		fmt.Println()
		for _, n := range slices.Sorted(maps.Keys(figures)) {
			slices.Sort(figures[n])
			fmt.Println(strings.Join(figures[n], "\n"))
		}
	}
	return code
}

func TestMain(m *testing.M) {
	flag.Parse()
	if runtime.GOMAXPROCS(0) < 6 {
		_ = flag.Set("test.parallel", "6") // most tests wait for what other processes do
	}
	testscript.Main(table{m}, map[string]func(){
		"holdfast": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"faultfs":  serveMedium,
	})
}

// Each fault has tests, and they exist.
func TestFaultList(t *testing.T) {
	tests := map[string]map[string]bool{}
	for _, g := range goals {
		for _, p := range g.proof {
			dir, name, _ := strings.Cut(p, " ")
			if tests[dir] == nil {
				tests[dir] = testsOf(t, dir)
			}
			if !tests[dir][name] {
				t.Errorf("fault %02d, %s: there is no %s in %s", g.number, g.fault, name, dir)
			}
		}
		t.Logf("fault %02d: %s: %s\n\t%s", g.number, g.fault, g.hold, strings.Join(g.proof, "\n\t"))
	}
}

func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}
