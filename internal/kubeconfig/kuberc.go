package kubeconfig

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	authexec "k8s.io/client-go/plugin/pkg/client/auth/exec"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/homedir"
	"sigs.k8s.io/yaml"
)

// preference is the part of a kuberc file that kshell uses: the policy for
// credential plugins. Source: k8s.io/kubectl/pkg/config/v1beta1.
type preference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	CredentialPluginPolicy    string           `json:"credentialPluginPolicy"`
	CredentialPluginAllowlist []allowlistEntry `json:"credentialPluginAllowlist"`
}

// allowlistEntry is a plugin that may run. The field name is deprecated:
// command replaces it. Only one of them may be set.
type allowlistEntry struct {
	Name    string `json:"name"`
	Command string `json:"command"`
}

const (
	kubercGroup = "kubectl.config.k8s.io"
	maxKuberc   = 1 << 20 // bytes
)

// kubercFile returns the path of the kuberc file, or "" if there is none to
// read. named reports whether --kuberc or KUBERC names it. The rules are those
// of kubectl.
func (f *Flags) kubercFile() (path string, named bool, err error) {
	const variable = "KUBERC"
	off := os.Getenv(variable) == "off"
	switch fromEnv := os.Getenv(variable); {
	case strings.EqualFold(os.Getenv("KUBECTL_KUBERC"), "false"):
		return "", false, nil
	case off && f.Kuberc != "":
		return "", false, &Error{
			Kind: Usage,
			text: "--kuberc is given, and KUBERC=off disables the kuberc file",
			hint: "omit --kuberc, or type `unset KUBERC`",
		}
	case off:
		return "", false, nil
	case f.Kuberc != "":
		return f.Kuberc, true, nil
	case fromEnv != "":
		return fromEnv, true, nil
	}
	home := homedir.HomeDir()
	if home == "" {
		return "", false, nil
	}
	return filepath.Join(home, clientcmd.RecommendedHomeDir, "kuberc"), false, nil
}

// pluginPolicy returns the policy of the kuberc file for credential plugins. As
// in kubectl, a default file that cannot be read or decoded is ignored; note is
// then a message for the user that contains the reason.
func (f *Flags) pluginPolicy() (policy clientcmdapi.PluginPolicy, note string, err error) {
	path, named, err := f.kubercFile()
	if err != nil || path == "" {
		return policy, "", err
	}
	read, err := readKuberc(path)
	switch {
	case err == nil:
	case !named && errors.Is(err, fs.ErrNotExist):
		return policy, "", nil
	case !named:
		note := "the kuberc file %s, which may restrict credential plugins, is ignored: %v"
		return policy, fmt.Sprintf(note, path, err), nil
	default:
		return policy, "", badKuberc(path, err)
	}
	policy.PolicyType = clientcmdapi.PolicyType(read.CredentialPluginPolicy)
	if read.CredentialPluginAllowlist != nil {
		policy.Allowlist = []clientcmdapi.AllowlistEntry{} // ValidatePluginPolicy rejects an empty list, but accepts nil
	}
	for _, entry := range read.CredentialPluginAllowlist {
		policy.Allowlist = append(policy.Allowlist, clientcmdapi.AllowlistEntry{Command: entry.Command + entry.Name})
	}
	if err := authexec.ValidatePluginPolicy(policy); err != nil {
		return policy, "", badKuberc(path, err)
	}
	return policy, "", nil
}

func badKuberc(path string, err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return &Error{
		Kind: Invalid, err: err,
		text: fmt.Sprintf("the kuberc file %s, which may restrict credential plugins, cannot be used: %v", path, err),
		hint: "correct it, name another with --kuberc, or type `export KUBERC=off` to use none",
	}
}

// readKuberc returns the first object of the kind Preference in a file of YAML
// documents. It returns an empty preference for an empty file.
func readKuberc(path string) (*preference, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // the file was only read
	data, err := io.ReadAll(io.LimitReader(file, maxKuberc+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxKuberc:
		return nil, errors.New("it is larger than 1 MiB")
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	empty := true
	for {
		document, err := documents.Read()
		switch {
		case errors.Is(err, io.EOF) && empty:
			return &preference{}, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("it contains no Preference of the group %s", kubercGroup)
		case err != nil:
			return nil, err
		case len(bytes.TrimSpace(document)) == 0:
			continue
		}
		empty = false
		if p := decodePreference(document); p != nil {
			return p, nil
		}
	}
}

// decodePreference returns the Preference in a document, or nil if the document
// is another object or invalid. A Preference of the version v1alpha1 has no
// policy.
func decodePreference(document []byte) *preference {
	p := &preference{}
	if err := yaml.Unmarshal(document, p); err != nil {
		return nil
	}
	version, err := schema.ParseGroupVersion(p.APIVersion)
	if err != nil || version.Group != kubercGroup || p.Kind != "Preference" {
		return nil
	}
	if version.Version == "v1alpha1" {
		return &preference{}
	}
	for _, entry := range p.CredentialPluginAllowlist {
		if entry.Name != "" && entry.Command != "" {
			return nil
		}
	}
	return p
}
