package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/kubeconfig"
	"kshell/internal/remote"
)

// unattended is connect for completion: nobody is there to answer a credential plugin, or to read a warning.
func (a *app) unattended() (*kubeconfig.Connection, error) {
	kube, err := a.connect()
	if err != nil {
		return nil, err
	}
	kube.Config.WarningHandler = rest.NoWarnings{}
	kube.Config = remote.WithoutPrompts(kube.Config, "a completion asks nobody")
	return kube, nil
}

const (
	listLimit = 500      // objects in a page, and names in an answer
	maxPage   = 16 << 20 // bytes
	// namesOnly is the objects without all that is not metadata, where the server can do that (Kubernetes does since 1.15).
	namesOnly = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io, application/json"
)

// namesAt lists the names of the objects at a path that begin so, as far as they come in time.
func namesAt(ctx context.Context, cfg *rest.Config, path, prefix string) []string {
	client, err := apiclient.New(cfg)
	if err != nil {
		return nil
	}
	defer client.CloseIdleConnections()
	var names []string
	for next := ""; ; {
		p, err := getPage(ctx, client, cfg, path, next)
		if err != nil {
			return names
		}
		last := ""
		for _, item := range p.Items {
			last = item.Metadata.Name
			if offered(prefix, last) {
				names = append(names, last)
			}
		}
		next = p.Metadata.Continue
		beyond := last > prefix && !strings.HasPrefix(last, prefix) // they come in the order of their names
		if next == "" || beyond || len(names) >= listLimit {
			return names
		}
	}
}

// page is what is of interest in a list (meta/v1 PartialObjectMetadataList, or a list of whole objects).
type page struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	} `json:"items"`
}

func getPage(ctx context.Context, client *http.Client, cfg *rest.Config, path, next string) (p page, err error) {
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return p, err
	}
	address := *server.JoinPath(path)
	query := url.Values{"limit": {strconv.Itoa(listLimit)}}
	if next != "" {
		query.Set("continue", next)
	}
	address.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(apiclient.PageContext(ctx), http.MethodGet, address.String(), nil)
	if err != nil {
		return p, err
	}
	request.Header.Set("Accept", namesOnly)
	answer, err := client.Do(request)
	if err != nil {
		return p, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return p, errors.New(answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxPage)).Decode(&p); err != nil {
		return p, fmt.Errorf("no list: %w", err)
	}
	return p, nil
}

// containersOf are all containers of a pod whose names begin so, described where they are not main ones.
func containersOf(spec *corev1.PodSpec, prefix string) []string {
	var names []string
	add := func(name, description string) {
		if offered(prefix, name) {
			names = append(names, name+description)
		}
	}
	for _, c := range spec.Containers {
		add(c.Name, "")
	}
	for _, c := range spec.InitContainers {
		kind := "init container"
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			kind = "sidecar"
		}
		add(c.Name, "\t"+kind)
	}
	for _, c := range spec.EphemeralContainers {
		add(c.Name, "\tephemeral container")
	}
	return names
}
