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

type origin int

const (
	fromHome origin = iota // ~/.kube/config
	fromEnv                // KUBECONFIG
	fromFlag               // --kubeconfig
)

// sources are the files that Load may read, and who named them.
type sources struct {
	files  []string
	origin origin
}

func (f *Flags) sources() sources {
	if f.Kubeconfig != "" {
		return sources{files: []string{f.Kubeconfig}, origin: fromFlag}
	}
	if list := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); list != "" {
		return sources{files: split(list), origin: fromEnv}
	}
	home := homedir.HomeDir()
	if home == "" {
		return sources{}
	}
	return sources{files: []string{filepath.Join(home, clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)}}
}

func split(list string) []string {
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
// accessible, ~/.kube/config counts as missing.
func (s sources) load() (*clientcmdapi.Config, error) {
	raw, err := s.rules().Load()
	if err != nil && s.origin == fromHome && !s.anyThere() {
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

// diagnose reads the files once more to find the one that failed: the loader's
// own text says too much (a parser's error may quote a token) and wraps nothing.
func (s sources) diagnose(err error) error {
	if s.origin == fromFlag && errors.Is(err, fs.ErrNotExist) {
		return s.missing()
	}
	for _, file := range s.files {
		if failure := diagnoseFile(file); failure != nil {
			return failure
		}
	}
	return malformed(s.String(), errors.New("unknown"))
}

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
		return nil // a pipe gives its bytes only once
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

// nothing explains why raw chooses no cluster.
func (s sources) nothing(raw *clientcmdapi.Config) error {
	switch {
	case len(raw.Contexts) > 0:
		return noCurrentContext(s, raw)
	case s.anyThere():
		return empty(s)
	case s.origin == fromHome && s.statDenied() != nil:
		return unreadable(s.files[0], s.statDenied())
	case s.origin == fromHome:
		return noConfiguration(s)
	default:
		return s.missing()
	}
}

func (s sources) missing() error {
	if s.origin == fromFlag {
		return missingFile(s.files[0])
	}
	return missingList(s.files)
}

// notesInCluster tells why the files that somebody named were not used.
func (s sources) notesInCluster(raw *clientcmdapi.Config) []string {
	if s.origin == fromHome && !s.anyThere() {
		return nil
	}
	err := s.nothing(raw)
	return []string{err.Error() + "; using this pod's own service account"}
}

func (s sources) anyThere() bool {
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

// regular reports whether all existing files are regular files.
func (s sources) regular() bool {
	for _, file := range s.files {
		if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// String names the files for a message.
func (s sources) String() string {
	if len(s.files) == 0 {
		return "the kubeconfig"
	}
	return strings.Join(s.files, ", ")
}
