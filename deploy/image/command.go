package main

// What a container runs if nothing else is said: the model that is part of the program, for all who reach the port.
const port = "8080"

var command = []string{"serve", "--listen", ":" + port}
