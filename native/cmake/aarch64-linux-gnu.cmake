# Compiles for 64-bit ARM with Debian's cross compiler (`apt install g++-aarch64-linux-gnu`); what it makes runs under
# `qemu-aarch64 -L /usr/aarch64-linux-gnu`.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
