package host

// sharedMemory is where Linux keeps files in memory.
const sharedMemory = "/dev/shm"
