package kubeconfig

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/homedir"
)

// sourceOrigin says where the list of kubeconfig files comes from.
type sourceOrigin int

const (
	fromHome sourceOrigin = iota // ~/.kube/config
	fromEnv                      // KUBECONFIG
	fromFlag                     // --kubeconfig
)

// sources is the list of kubeconfig files, and where the list comes from.
type sources struct {
	files  []string
	origin sourceOrigin
}

func (f *Flags) sources() sources {
	if f.Kubeconfig != "" {
		return sources{files: []string{f.Kubeconfig}, origin: fromFlag}
	}
	if list := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); list != "" {
		return sources{files: splitList(list), origin: fromEnv}
	}
	home := homedir.HomeDir()
	if home == "" {
		return sources{}
	}
	return sources{files: []string{filepath.Join(home, clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)}}
}

// splitList splits KUBECONFIG and removes empty entries and duplicates.
func splitList(list string) []string {
	var files []string
	seen := map[string]bool{}
	for _, file := range filepath.SplitList(list) {
		if file != "" && !seen[file] {
			seen[file] = true
			files = append(files, file)
		}
	}
	return files
}

// load merges the files. A missing file is an error only if --kubeconfig names
// it. If the home directory is not a directory (/dev/null), or is not
// accessible, ~/.kube/config counts as missing. Load may still fail because
// access was denied: see noClusterError.
func (s sources) load() (*clientcmdapi.Config, error) {
	raw, err := s.rules().Load()
	if err != nil && s.origin == fromHome && !s.anyExists() {
		return clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return nil, s.diagnose(err)
	}
	return raw, nil
}

func (s sources) rules() *clientcmd.ClientConfigLoadingRules {
	if s.origin == fromFlag {
		return &clientcmd.ClientConfigLoadingRules{ExplicitPath: s.files[0]}
	}
	return &clientcmd.ClientConfigLoadingRules{Precedence: s.files}
}

// diagnose reads the files again to find the one that caused err, and returns
// the error for that file. It does not return err itself, because the message
// of err may quote a token.
func (s sources) diagnose(err error) error {
	if s.origin == fromFlag && errors.Is(err, fs.ErrNotExist) {
		return s.notFoundError()
	}
	for _, file := range s.files {
		if failure := diagnoseFile(file); failure != nil {
			return failure
		}
	}
	return malformed(s.String(), errors.New("unknown"))
}

// diagnoseFile returns the error of a file, or nil.
func diagnoseFile(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unreadable(file, err)
	case info.IsDir():
		return directory(file)
	case !info.Mode().IsRegular():
		return nil // a pipe can be read only once
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return unreadable(file, err)
	}
	if _, err := clientcmd.Load(data); err != nil {
		return malformed(file, err)
	}
	return nil
}

// noClusterError returns the error for raw, which selects no cluster.
func (s sources) noClusterError(raw *clientcmdapi.Config) error {
	switch {
	case len(raw.Contexts) > 0:
		return noCurrentContext(s, raw)
	case s.anyExists():
		return empty(s)
	case s.origin == fromHome && s.statDenied() != nil:
		return unreadable(s.files[0], s.statDenied())
	case s.origin == fromHome:
		return noConfiguration(s)
	default:
		return s.notFoundError()
	}
}

func (s sources) notFoundError() error {
	if s.origin == fromFlag {
		return fileNotFound(s.files[0])
	}
	return listNotFound(s.files)
}

// inClusterNotes returns a note that explains why the service account is used
// although KUBECONFIG is set or ~/.kube/config exists.
func (s sources) inClusterNotes(raw *clientcmdapi.Config) []string {
	if s.origin == fromHome && !s.anyExists() {
		return nil
	}
	err := s.noClusterError(raw)
	return []string{err.Error() + "; using this pod's own service account"}
}

func (s sources) anyExists() bool {
	for _, file := range s.files {
		if _, err := os.Stat(file); err == nil {
			return true
		}
	}
	return false
}

// statDenied returns the error if permission to stat the first file is denied,
// else nil.
func (s sources) statDenied() error {
	if len(s.files) == 0 {
		return nil
	}
	_, err := os.Stat(s.files[0])
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// allRegular reports whether all existing files are regular files.
func (s sources) allRegular() bool {
	for _, file := range s.files {
		if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// String returns the names of the files, for messages.
func (s sources) String() string {
	if len(s.files) == 0 {
		return "the kubeconfig"
	}
	return strings.Join(s.files, ", ")
}
