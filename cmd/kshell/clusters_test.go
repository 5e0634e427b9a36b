package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClustersTable(t *testing.T) {
	rows := []clusterRow{
		{Name: "dev", From: "kubeconfig", Server: "https://dev", Auth: "none", Namespace: "default", Cluster: "c", User: "u"},
		{
			Name: "prod", From: "kubeconfig", Server: "https://prod", Auth: "token", Namespace: "shop", Current: true,
			checkResult: &checkResult{Reachable: true, Version: "v1.37.2"},
		},
		{Name: "old", From: "kubeconfig", checkResult: &checkResult{Error: "Unauthorized"}},
	}
	for name, test := range map[string]struct {
		plan clustersPlan
		want [][]string
	}{
		"plain": {clustersPlan{}, [][]string{
			{"  NAME", "FROM", "SERVER", "AUTH", "NAMESPACE"},
			{"  dev", "kubeconfig", "https://dev", "none", "default"},
			{"* prod", "kubeconfig", "https://prod", "token", "shop"},
			{"  old", "kubeconfig", "", "", ""},
		}},
		"wide": {clustersPlan{format: formatWide}, [][]string{
			{"  NAME", "FROM", "SERVER", "AUTH", "NAMESPACE", "CLUSTER", "USER"},
			{"  dev", "kubeconfig", "https://dev", "none", "default", "c", "u"},
			{"* prod", "kubeconfig", "https://prod", "token", "shop", "", ""},
			{"  old", "kubeconfig", "", "", "", "", ""},
		}},
		"checked": {clustersPlan{check: true}, [][]string{
			{"  NAME", "FROM", "SERVER", "AUTH", "NAMESPACE", "REACHABLE"},
			{"* prod", "kubeconfig", "https://prod", "token", "shop", "yes, v1.37.2"},
			{"  old", "kubeconfig", "", "", "", "no: Unauthorized"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			shown := rows
			if test.plan.check {
				shown = rows[1:]
			}
			if diff := cmp.Diff(test.want, clustersTable(&test.plan, shown)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
