package contract

import "testing"

func TestMany(t *testing.T) { Many(t, program(t)) }
