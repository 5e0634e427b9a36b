package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"kshell/internal/headlamp"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/settings"
)

const (
	headlampFlag  = "headlamp"
	clusterFlag   = "headlamp-cluster"
	tokenFileFlag = "headlamp-token-file"
	statelessFlag = "headlamp-stateless"
)

// The values of --headlamp-stateless.
const (
	statelessNever  = "never"
	statelessAuto   = "auto"
	statelessAlways = "always"
)

var statelessModes = []string{statelessNever, statelessAuto, statelessAlways}

// headlampFlags are the flags for connections through a Headlamp server.
type headlampFlags struct {
	address, cluster, tokenFile, stateless string

	set  *pflag.FlagSet // the flag set that contains these flags
	used bool           // connect has used a Headlamp server
}

func (f *headlampFlags) addTo(flags *pflag.FlagSet) {
	f.set = flags
	flags.StringVar(&f.address, headlampFlag, "",
		"connect through this Headlamp server: a URL, as copied from the browser; \"\" ignores the setting headlamp")
	flags.StringVar(&f.cluster, clusterFlag, "",
		"cluster of the Headlamp server; default: that of the URL, the only one, or that with the name of the context")
	flags.StringVar(&f.tokenFile, tokenFileFlag, "",
		"file with the token of Headlamp's desktop app; default: the variable "+tokenVariable)
	flags.StringVar(&f.stateless, statelessFlag, "",
		"upload the context of the kubeconfig to the Headlamp server: never, auto (if the server has no cluster "+
			"of its name) or always; default never")
}

// headlampPlan is the Headlamp server and the cluster that a command line and
// the settings select.
type headlampPlan struct {
	address   headlamp.Address // Cluster: that of the flags and settings, or ""
	source    string           // where the address is set, for messages
	stateless string
	// ofContext reports whether the settings of the context name this server,
	// and nothing else names the cluster. The credentials of the context may
	// then be sent to it.
	ofContext bool
	// clusterSource is where the cluster is set, for messages, or "".
	clusterSource string
}

// byFlag reports whether --headlamp is given.
func (f *headlampFlags) byFlag() bool { return f.set.Changed(headlampFlag) }

// plan returns the plan for the settings s, or nil for a connection without a
// Headlamp server.
func (f *headlampFlags) plan(s *settings.Settings, kube *kubeconfig.Flags) (*headlampPlan, error) {
	text, source := s.Headlamp.Text, "the setting "+headlampFlag+" from "+s.Headlamp.Source
	byFlag := f.byFlag()
	if byFlag {
		text, source = f.address, "--"+headlampFlag
	}
	stateless, err := f.statelessMode(s)
	switch {
	case err != nil:
		return nil, err
	case text == "" && f.set.Changed(clusterFlag):
		return nil, outcome.NewUsageError("--"+clusterFlag+" needs a Headlamp server", "--"+headlampFlag+" URL")
	case text == "" && f.set.Changed(statelessFlag) && stateless != statelessNever:
		return nil, outcome.NewUsageError("--"+statelessFlag+" needs a Headlamp server", "--"+headlampFlag+" URL")
	case text == "":
		return nil, nil
	case byFlag && kube.Server != "":
		return nil, outcome.NewUsageError(
			"--server and --"+headlampFlag+" exclude each other: both name the server", "omit one of them")
	case byFlag && kube.Cluster != "" && stateless == statelessNever:
		return nil, outcome.NewUsageError("--cluster names a cluster of the kubeconfig, which --"+headlampFlag+" replaces",
			"name a cluster of the Headlamp server with --"+clusterFlag)
	case kube.Server != "", kube.Cluster != "" && stateless == statelessNever: // they take precedence over the settings
		return nil, nil
	}
	p := &headlampPlan{source: source, stateless: stateless}
	if p.address, err = headlamp.Parse(text); err != nil {
		return nil, badHeadlamp(source, byFlag, err)
	}
	f.planCluster(p, s, byFlag)
	return p, nil
}

// planCluster sets the cluster of p, its source, and ofContext.
func (f *headlampFlags) planCluster(p *headlampPlan, s *settings.Settings, byFlag bool) {
	setting := s.Cluster
	if other, err := headlamp.Parse(s.Headlamp.Text); byFlag && (p.address.Cluster != "" ||
		err == nil && other.Base != p.address.Base) {
		setting = settings.Value{} // --headlamp names the cluster, or the setting is for another server
	}
	p.ofContext = !byFlag && s.Headlamp.OfContext && f.cluster == "" && (setting.Text == "" || setting.OfContext)
	switch {
	case f.cluster != "":
		p.clusterSource = "--" + clusterFlag
	case setting.Text != "":
		p.clusterSource = "the setting " + clusterFlag + " from " + setting.Source
	case p.address.Cluster != "":
		p.clusterSource = p.source
	}
	p.address.Cluster = headlamp.MapName(cmp.Or(f.cluster, setting.Text, p.address.Cluster))
}

// override replaces values in s by those of the flags that are given, and their
// sources, for `config view`.
func (f *headlampFlags) override(s *settings.Settings) {
	for flag, value := range map[string]*settings.Value{
		headlampFlag: &s.Headlamp, clusterFlag: &s.Cluster, statelessFlag: &s.Stateless,
	} {
		if f.set.Changed(flag) {
			value.Text, value.Source = f.set.Lookup(flag).Value.String(), "flag --"+flag
		}
	}
}

// tokenSource returns where the token of the desktop app comes from, or "" if
// there is none.
func (f *headlampFlags) tokenSource() string {
	switch {
	case f.tokenFile != "":
		return "flag --" + tokenFileFlag
	case os.Getenv(tokenVariable) != "":
		return "variable " + tokenVariable
	}
	return ""
}

// statelessMode returns the value of the flag or the setting.
func (f *headlampFlags) statelessMode(s *settings.Settings) (string, error) {
	switch {
	case f.stateless == "":
		return s.Stateless.OneOf(statelessNever, statelessAuto, statelessAlways)
	case !slices.Contains(statelessModes, f.stateless):
		return "", outcome.NewUsageError("--"+statelessFlag+" "+strconv.Quote(f.stateless)+" is not one of "+
			strings.Join(statelessModes, ", "), "--"+statelessFlag+" "+statelessAuto)
	}
	return f.stateless, nil
}

func badHeadlamp(source string, byFlag bool, err error) error {
	if byFlag {
		return outcome.NewUsageError(source+": "+err.Error(), "write it as --"+headlampFlag+" https://HOST")
	}
	return notice.WithHint(fmt.Errorf("%s cannot be used: %w", source, err), "write it as https://HOST")
}
