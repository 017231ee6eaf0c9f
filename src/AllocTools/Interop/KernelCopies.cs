using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>Whether processes of this user may read each other's memory (process_vm_readv(2)).</summary>
internal static unsafe partial class KernelCopies
{
    private const string RestrictedByYama = "/proc/sys/kernel/yama/ptrace_scope";

    /// <summary>Yama restricts it between processes that are not related, and a filter of system calls may forbid it altogether.</summary>
    public static bool ArePermitted { get; } = OperatingSystem.IsLinux()
        && (!File.Exists(RestrictedByYama) || File.ReadAllText(RestrictedByYama).Trim() == "0")
        && CanReadItself();

    private static bool CanReadItself()
    {
        byte from = 1;
        byte to = 0;
        Range source = new() { Address = &from, Length = 1 };
        Range target = new() { Address = &to, Length = 1 };
        return process_vm_readv(Environment.ProcessId, &target, 1, &source, 1, 0) == 1;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint process_vm_readv(int process, Range* local, nuint localCount, Range* remote, nuint remoteCount, nuint flags);

    [StructLayout(LayoutKind.Sequential)]
    private struct Range
    {
        public void* Address;
        public nuint Length;
    }
}
