package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"kshell/internal/agentbin"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/resume"
)

// resumeFlags are the flags for sessions that survive a lost connection; see
// internal/resume.
type resumeFlags struct {
	resume        string // "": not given
	resumeDirs    []string
	resumeBuffer  string
	resumeTimeout time.Duration
	detach        bool
	attach        bool
}

// The names of flags.
const (
	resumeFlag        = "resume"
	resumeDirFlag     = "resume-dir"
	resumeBufferFlag  = "resume-buffer"
	resumeTimeoutFlag = "resume-timeout"
	detachFlag        = "detach"
	attachFlag        = "attach"
)

// The values of --resume.
const (
	resumeAuto   = "auto"
	resumeAlways = "always"
	resumeNever  = "never"
)

var resumeModes = []string{resumeAuto, resumeAlways, resumeNever}

// The limits of --resume-buffer, in bytes, and of --resume-timeout.
const (
	minResumeBuffer  = 64 << 10
	maxResumeBuffer  = 64 << 20
	minResumeTimeout = time.Second
	maxResumeTimeout = 24 * time.Hour // no session exists for longer
)

func (f *resumeFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.resume, resumeFlag, "",
		"keep the shell or command running when the connection is lost, by a program that kshell copies into the "+
			"container: auto (if that is possible within seconds), always, never (default); --resume means --resume=auto")
	flags.Lookup(resumeFlag).NoOptDefVal = resumeAuto
	flags.StringSliceVar(&f.resumeDirs, resumeDirFlag, nil,
		"with --resume, directories of the container for this program, separated by commas; "+
			"they are tried before "+strings.Join(resume.DefaultDirs, ", "))
	flags.StringVar(&f.resumeBuffer, resumeBufferFlag, "",
		"with --resume, how much output is kept while kshell is not connected: 64Ki to 64Mi; default: 2Mi")
	flags.DurationVar(&f.resumeTimeout, resumeTimeoutFlag, 0,
		"with --resume, end the shell or command if kshell has not been connected for this time, at most 24h; "+
			"default: 8h with a tty, otherwise 10m")
	flags.BoolVar(&f.detach, detachFlag, false,
		"start the shell or command as with --resume=always, print the ID of its session, and exit")
	flags.BoolVar(&f.attach, attachFlag, false,
		"continue a session of --resume: --attach POD [ID]; the command sessions lists the IDs")
}

// resumePlan holds the parsed resumeFlags and, after applyResumeSettings, the
// settings.
type resumePlan struct {
	mode    string // a value of --resume; "" before applyResumeSettings: not given
	dirs    []string
	buffer  int           // 0: default
	timeout time.Duration // 0: default
	// unusable is the flag with which sessions cannot survive a lost connection,
	// or "". The settings are then ignored.
	unusable string
	detach   bool
	// dependent is one of the flags that have no effect without --resume, or "".
	dependent string
}

// checkResumeWord returns an error if --resume is followed by a space and its value.
// The value is then the first argument. named has the arguments before --. A pod
// whose name is a value of --resume can be named as pod/NAME.
func (f *resumeFlags) checkResumeWord(cmd *cobra.Command, named []string) error {
	if f.resume != resumeAuto || len(named) == 0 || !slices.Contains(resumeModes, named[0]) {
		return nil
	}
	return outcome.NewUsageError(
		fmt.Sprintf("the value of --resume must follow =, and %q is a separate word", named[0]),
		fmt.Sprintf("type --resume=%s; for a pod of this name, type `%s --resume pod/%[1]s`",
			named[0], cmd.CommandPath()),
	)
}

// planResume returns the plan of the flags. all are all flags of exec.
func (f *resumeFlags) planResume(cmd *cobra.Command, all *execFlags) (resumePlan, error) {
	p := resumePlan{mode: f.resume, dirs: f.resumeDirs, timeout: f.resumeTimeout}
	switch {
	case all.all:
		p.unusable = "--all"
	case all.exact == exactNever:
		p.unusable = "--exact=never"
	}
	for _, name := range []string{resumeDirFlag, resumeBufferFlag, resumeTimeoutFlag} {
		if p.dependent == "" && changed(cmd, name) {
			p.dependent = "--" + name
		}
	}
	if p.detach = f.detach; p.detach {
		if err := f.checkDetach(cmd, all); err != nil {
			return p, err
		}
		p.mode = resumeAlways
	}
	switch {
	case f.resume != "" && !slices.Contains(resumeModes, f.resume):
		return p, outcome.NewUsageError(
			"unknown --resume "+strconv.Quote(f.resume), "one of "+strings.Join(resumeModes, ", "))
	case p.detach && p.unusable != "":
		return p, usage(cmd, "--detach and "+p.unusable+" cannot be used together: "+unusableReasons[p.unusable])
	case f.resume != "" && f.resume != resumeNever && p.unusable != "":
		return p, usage(cmd, "--resume and "+p.unusable+" cannot be used together: "+unusableReasons[p.unusable])
	case p.dependent != "" && (f.resume == resumeNever || p.unusable != ""):
		return p, p.dependentError()
	case changed(cmd, resumeTimeoutFlag) && (f.resumeTimeout < minResumeTimeout || f.resumeTimeout > maxResumeTimeout):
		return p, usage(cmd, fmt.Sprintf("--resume-timeout %s: must be between 1s and 24h", shortDuration(f.resumeTimeout)))
	}
	var err error
	p.buffer, err = parseBuffer(f.resumeBuffer)
	return p, cmp.Or(checkResumeDirs(f.resumeDirs), err)
}

// checkDetach returns a usage error for a flag that excludes --detach.
func (f *resumeFlags) checkDetach(cmd *cobra.Command, all *execFlags) error {
	with := func(flag, reason string) error {
		return usage(cmd, "--detach and "+flag+" cannot be used together: "+reason)
	}
	const (
		noInput  = "the command has no input after kshell has exited"
		noResult = "kshell exits before the command ends"
	)
	switch {
	case f.attach:
		return usage(cmd, "--detach and --attach cannot be used together")
	case f.resume == resumeNever:
		return usage(cmd, "--detach and --resume=never cannot be used together")
	case all.stdinFile != "":
		return with("--stdin-file", noInput)
	case all.stdin && !all.tty && !all.noStdin:
		return with("-i without -t", noInput)
	case all.timeout != 0:
		return outcome.NewUsageError("--detach and --timeout cannot be used together: "+noResult,
			"--resume-timeout limits the time in which no kshell is connected")
	case all.statusFile != "":
		return with("--status-file", noResult)
	case all.statusFD != noFD:
		return with("--status-fd", noResult)
	}
	return nil
}

// unusableReasons are the reasons of resumePlan.unusable.
var unusableReasons = map[string]string{
	"--all":         "a session can be continued in one pod only",
	"--exact=never": "a session is started by a script in the container",
}

// dependentError returns the usage error for a flag that has no effect without
// --resume.
func (p *resumePlan) dependentError() error {
	return outcome.NewUsageError(p.dependent+" needs --resume", "add --resume")
}

// checkResumeDirs returns a usage error if one of the values of --resume-dir
// is invalid.
func checkResumeDirs(dirs []string) error {
	for _, dir := range dirs {
		if err := resume.CheckDir(dir); err != nil {
			return outcome.NewUsageError(fmt.Sprintf("--resume-dir %q %s", dir, err), "--resume-dir /tmp")
		}
	}
	return nil
}

// resumeDirs returns dirs, the values of --resume-dir, or those of the setting
// if there are none.
func (a *app) resumeDirs(dirs []string) ([]string, error) {
	v := a.settings.ResumeDir
	if len(dirs) > 0 || v.Text == "" {
		return dirs, nil
	}
	dirs = strings.Split(v.Text, ",")
	for _, dir := range dirs {
		if err := resume.CheckDir(dir); err != nil {
			return nil, fmt.Errorf("setting %s from %s contains %s, which %w", v.Key, v.Source, strconv.Quote(dir), err)
		}
	}
	return dirs, nil
}

// parseBuffer returns the number of bytes of a value of --resume-buffer, or 0 if
// it is empty.
func parseBuffer(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, outcome.NewUsageError(fmt.Sprintf("--resume-buffer %q is not a size", text), "--resume-buffer 4Mi")
	}
	if size := quantity.Value(); size >= minResumeBuffer && size <= maxResumeBuffer {
		return int(size), nil
	}
	return 0, outcome.NewUsageError(
		fmt.Sprintf("--resume-buffer %s: must be between 64Ki and 64Mi", text), "--resume-buffer 4Mi")
}

// applyResumeSettings applies the settings for sessions that survive a lost
// connection to p, unless their flags are given. If this kshell contains no
// session agents, it warns or, if p needs an agent, returns an error.
func (a *app) applyResumeSettings(p *execPlan) error {
	r := &p.resume
	var err error
	if r.dirs, err = a.resumeDirs(r.dirs); err != nil || p.attach != nil {
		return err
	}
	if v := a.settings.Resume; r.mode == "" && v.Text != "" {
		if _, err := v.OneOf(resumeNever, resumeAuto, resumeAlways); err != nil {
			return err
		}
		if r.unusable == "" {
			r.mode = v.Text
		} else if v.Text != resumeNever {
			a.notice.Detail("the setting %s from %s has no effect with %s", v.Key, v.Source, r.unusable)
		}
	}
	switch {
	case r.mode == "" || r.mode == resumeNever:
		if r.dependent != "" {
			return r.dependentError()
		}
	case agentBuild() == "" && r.mode == resumeAlways:
		return errNoAgents
	case agentBuild() == "":
		r.mode = resumeNever
		a.notice.Warn("%s (%s)", errNoAgents, notice.HintOf(errNoAgents))
	}
	return nil
}

// agentBuild returns the build ID of the embedded session agents, or "" if
// there are none. Tests replace it.
var agentBuild = agentbin.BuildID

// errNoAgents means that this kshell cannot keep sessions, because it was built
// without "make agent".
var errNoAgents = notice.WithHint(
	errors.New("--resume is not possible: this kshell was built without the session agents"),
	"install a release, or type `make install` in the source directory",
)

// lossHint returns the hint that is printed after the first loss of a shell in t,
// or "". It names --resume, unless the user has decided about it, or it cannot be
// used.
func (p *execPlan) lossHint(t remote.Target) string {
	switch {
	case p.resume.mode != "" || p.resume.unusable != "" || p.attach != nil || agentBuild() == "":
		return ""
	case t.Found != nil && pod.OS(t.Found.Pod) == corev1.Windows:
		return ""
	}
	return "with --resume, the same shell continues after a lost connection"
}

// remoteMode returns the mode for remote.Options.
func (p *resumePlan) remoteMode() remote.ResumeMode {
	switch p.mode {
	case resumeAuto:
		return remote.ResumeAuto
	case resumeAlways:
		return remote.ResumeAlways
	}
	return remote.ResumeNever
}
