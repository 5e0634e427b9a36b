package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"kshell/internal/exact"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// shellFlags are the surroundings of a command.
type shellFlags struct {
	shell   string
	env     []string
	workdir string
}

func (f *shellFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.shell, "shell", "", "the shell to open where no command is named; default: bash, sh or ash, what there is, and on Windows powershell or cmd")
	flags.StringArrayVar(&f.env, "env", nil, "set a variable for the command: NAME=VALUE, or NAME for its value here; may be repeated")
	flags.StringVar(&f.workdir, "workdir", "", "the command's working directory")
}

// surroundings are what shellFlags ask for: variables as NAME=VALUE.
type surroundings struct {
	env []string
	dir string
}

// none says whether the command can be run as it is.
func (s surroundings) none() bool { return len(s.env) == 0 && s.dir == "" }

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// check looks the variables up that are only named, and finds what is no variable.
func (f *shellFlags) check(cmd *cobra.Command) (surroundings, error) {
	s := surroundings{dir: f.workdir}
	for _, given := range f.env {
		name, value, ok := strings.Cut(given, "=")
		if !ok {
			value, ok = os.LookupEnv(name)
		}
		switch {
		case !variable.MatchString(name):
			return s, usage(cmd, fmt.Sprintf("--env %s: not the name of a variable", strconv.Quote(given)))
		case !ok:
			return s, usage(cmd, fmt.Sprintf("--env %s: there is no such variable here, and no value was given", name))
		}
		s.env = append(s.env, name+"="+value)
	}
	return s, nil
}

// carried are the variables of this terminal that a shell over there should know, as ssh has it. Those of the locale are marked as ones that
// the container may not have (exact.NewShell).
func carried(environ []string) []string {
	var known []string
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case value == "":
		case name == "TERM", name == "COLORTERM":
			known = append(known, v)
		case name == "LANG", strings.HasPrefix(name, "LC_") && variable.MatchString(name):
			known = append(known, exact.IfLocaleExists+v)
		}
	}
	return known
}

// onTerminal runs the plan's command, or a shell, on the local terminal.
func (j *job) onTerminal(ctx context.Context) error {
	if j.plan.scripted && j.os() != corev1.Windows {
		tried, err := j.inShell(ctx)
		if tried {
			return err
		}
	}
	if !j.plan.around.none() {
		return errNoSurroundings
	}
	var err error
	for _, command := range j.shells(ctx) {
		d := &driver{job: j, request: func(at place) stream.Request { return at.request(command, true, true, j.plan.offer) }}
		err = explain(j.attended(ctx, d), j.plan, j.at, false)
		var remote *stream.RemoteError
		if !errors.As(err, &remote) || remote.Start != stream.StartNotFound {
			return err
		}
	}
	if len(j.plan.command) > 0 {
		return err
	}
	return j.noShell(err)
}

// errNoSurroundings means that --env and --workdir are not possible, because the
// container has no sh or the user may not run it.
var errNoSurroundings = notice.WithHint(
	errors.New("--env and --workdir need an sh in the container, and permission to run it"),
	"leave out --env, --workdir and --exact=never to run the command without sh",
)

// errSurroundings returns why the command was not started with --env or --workdir.
func errSurroundings(state exact.State) error {
	if state != exact.NotStarted {
		return errNoSurroundings
	}
	return notice.WithHint(
		errors.New("the command was not started: kshell's script cannot set a variable, or cannot start processes in "+
			"the container, which may be at its process or memory limit"),
		"without --env and --workdir, the command is run without the script",
	)
}

// inShell runs the command through the script that sets the local user's variables
// and reports the process ID of the shell. If tried is false, the script could not
// run, and the command was not started.
func (j *job) inShell(ctx context.Context) (tried bool, err error) {
	env := append(carried(os.Environ()), j.plan.around.env...)
	var shell *exact.Shell
	err = j.bySh(func() error {
		shell = exact.NewShell(env, j.plan.around.dir)
		return j.attended(ctx, &driver{job: j, shell: shell, request: func(at place) stream.Request {
			return at.request(j.scripted(shell.Command(j.plan.command)), true, true, j.plan.offer)
		}})
	})
	j.noSh = lacksProgram(err)
	state := shell.State()
	why := obstacle(state, err)
	switch {
	case state == exact.NoDirectory:
		return true, errors.New(why)
	case state == exact.NoCommand && !j.plan.around.none():
		return true, explain(errMissing, j.plan, j.at, false)
	case state == exact.NotStarted && !j.plan.around.none():
		return true, errSurroundings(state)
	case why != "":
		j.notice.Detail("the shell is opened without kshell's script: %s", why)
		return false, nil
	case state == exact.Unknown:
		err = j.confirmed(err, false, "")
	}
	return true, explain(err, j.plan, j.at, false)
}

// attended runs a session on the local terminal. The shell and its processes, if
// kshell's script has started them, are ended when the user leaves or the connection is
// lost.
func (j *job) attended(ctx context.Context, d *driver) error {
	ctx, leaving := context.WithCancelCause(ctx)
	defer leaving(nil)
	d.ctx, d.watch = ctx, j.guarded()
	defer d.watch.end()
	k, err := j.newKeys(leaving)
	if err != nil {
		return err
	}
	defer k.close()
	defer j.clearing.Wait()
	set := j.settings()
	set.Stdout = &j.screen
	if d.shell != nil {
		set.Stdout, set.Proof, set.WithOutput = d.shell.Output(&j.screen), proof, true
	} else {
		j.interrupting(leaving, &j.out)
	}
	err = k.run(ctx, d, set)
	var exit *stream.ExitError
	if err != nil && !errors.As(err, &exit) {
		j.tidy()
	}
	left := ctx.Err() != nil || nobodyThere(err)
	if d.shell != nil && !j.plan.exact.keep && left && d.opened == j.at {
		j.sweep(ctx, j.at, d.shell.HangUpCommand())
	}
	return outcome.ContextCause(ctx, k.gap.givenUp(err))
}

// nobodyThere reports whether the session ended because the connection or the local
// terminal was lost.
func nobodyThere(err error) bool {
	var lost *stream.LostError
	var fate *fateError
	var in *stream.InputError
	var out *stream.OutputError
	return errors.As(err, &lost) && !errors.As(err, &fate) || errors.As(err, &in) || errors.As(err, &out)
}
