int dipc_test_neighbour(void) { return 1; }
