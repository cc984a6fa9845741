package main

func main() { println("built") }
