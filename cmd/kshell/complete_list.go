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
)

// connectForCompletion is like connect, but credential plugins cannot prompt,
// and warnings from the server are not printed.
func (a *app) connectForCompletion(ctx context.Context) (*kubeconfig.Connection, error) {
	return a.connect(ctx, connectOptions{completing: true})
}

const (
	listLimit = 500      // objects in a page, and names in a completion
	maxPage   = 16 << 20 // size limit of a page, in bytes
	// acceptMetadata is the header Accept that asks for the metadata of objects
	// only. Kubernetes supports that since 1.15; other servers may return whole
	// objects.
	acceptMetadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io, application/json"
)

// listNames returns the names that begin with prefix in the list at an API
// path. After an error or at the end of ctx, it returns the names that it has
// read.
func listNames(ctx context.Context, cfg *rest.Config, path, prefix string) []string {
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
			if isOfferable(last, prefix) {
				names = append(names, last)
			}
		}
		next = p.Metadata.Continue
		passed := last > prefix && !strings.HasPrefix(last, prefix) // the list is sorted by name
		if next == "" || passed || len(names) >= listLimit {
			return names
		}
	}
}

// page has the fields of a page of a list that listNames uses. The server
// returns a PartialObjectMetadataList of meta/v1, or a list of whole objects.
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

// getPage gets a page of the list at path. next is the token of the page, or ""
// for the first one.
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
	request.Header.Set("Accept", acceptMetadata)
	resp, err := client.Do(request)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return p, errors.New(resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPage)).Decode(&p); err != nil {
		return p, fmt.Errorf("not a list: %w", err)
	}
	return p, nil
}

// containerNames returns the containers of a pod whose names begin with prefix.
// The description of an init or ephemeral container follows its name after a
// tab, as in cobra.
func containerNames(spec *corev1.PodSpec, prefix string) []string {
	var names []string
	add := func(name, description string) {
		if isOfferable(name, prefix) {
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
