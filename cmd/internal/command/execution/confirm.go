package execution

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// Flags are what a command may do without asking. Each command declares those it has, with words of its own.
type Flags struct {
	Approve bool     // --auto-approve
	Allow   []string // --allow: classes of change, added to safe and degrade
	Deletes int      // --allow-delete
}

// Allowed is what the flags allow. An unknown class is an error.
func (f *Flags) Allowed() (reconcile.Allowed, error) {
	ok := defaultAllowed()
	for _, name := range f.Allow {
		class := reconcile.Class(name)
		if !slices.Contains([]reconcile.Class{reconcile.ClassSafe, reconcile.ClassDegrade, reconcile.ClassDestroy, reconcile.ClassRole}, class) {
			return ok, fmt.Errorf("--allow=%s: write safe, degrade, destroy or role", name)
		}
		ok.Classes = append(ok.Classes, class)
	}
	ok.Deletes = f.Deletes
	return ok, nil
}

// defaultAllowed is what apply may do without being told.
func defaultAllowed() reconcile.Allowed {
	return reconcile.Allowed{Classes: []reconcile.Class{reconcile.ClassNone, reconcile.ClassSafe, reconcile.ClassDegrade}}
}

// Question is what a person is asked before a plan is done.
type Question struct {
	Approved bool            // the answer is known: only the gates count
	Opens    reconcile.Class // a yes also allows this class, because the question names what it is about
	Review   string          // the command that shows the plan, for where nobody can be asked
}

// Confirm ends the command unless the plan may be done: unless its gates are open and a person says yes.
func Confirm(ctx context.Context, c *command.Call, p *reconcile.Plan, allowed reconcile.Allowed, q Question) error {
	if !q.Approved {
		if !c.Interactive() {
			return fmt.Errorf("nobody can be asked here: standard input is no terminal. Review %s, then use --auto-approve, or apply a saved plan", q.Review)
		}
		allowed.Classes = append(allowed.Classes, q.Opens)
	}
	if err := blocked(p, allowed); err != nil || q.Approved {
		return err
	}
	return ask(ctx, c, p)
}

// blocked ends the command when a gate of the plan is closed.
func blocked(p *reconcile.Plan, allowed reconcile.Allowed) error {
	closed := p.Closed(allowed)
	if len(closed) == 0 {
		return nil
	}
	var need []string
	for _, g := range closed {
		need = append(need, fmt.Sprintf("%s (%s)", g.Allow, g.Reason))
	}
	return command.Exit(command.ExitBlocked, fmt.Errorf("nothing was done: this plan needs %s", strings.Join(need, " and ")))
}

func ask(ctx context.Context, c *command.Call, p *reconcile.Plan) error {
	for _, g := range p.Gates {
		fmt.Fprintf(c.Out, "This %s.\n", g.Reason)
	}
	fmt.Fprint(c.Out, "\nDo this? Only \"yes\" is taken: ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(c.In).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case got := <-answer:
		if got != "yes" {
			return command.Exit(command.ExitDeclined, errors.New("declined; nothing was done"))
		}
	}
	return nil
}
