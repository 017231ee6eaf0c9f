using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>Whether processes of this user may read each other's memory (process_vm_readv(2)).</summary>
internal static unsafe partial class KernelCopies
{
    private const string YamaFile = "/proc/sys/kernel/yama/ptrace_scope";
    private const int SysPtrace = 19;

    /// <summary>Whether this is permitted. Yama restricts it between unrelated processes, and a filter of system calls may forbid it altogether.</summary>
    public static bool ArePermitted { get; } = OperatingSystem.IsLinux()
        && (!File.Exists(YamaFile) || AllowedByYama(int.TryParse(File.ReadAllText(YamaFile), out int scope) ? scope : 0, ProcessRights.Read()))
        && AllowedByFilters();

    /// <summary>Whether Yama permits it: with scope 0, and with scopes 1 and 2 if the process has CAP_SYS_PTRACE.</summary>
    /// <param name="scope">The value of ptrace_scope.</param>
    /// <param name="rights">The rights of the process; null if they are not known.</param>
    public static bool AllowedByYama(long scope, ProcessRights? rights) =>
        scope == 0 || (scope < 3 && rights is { IsInUserNamespace: false } && rights.HasEffective(SysPtrace));

    /// <summary>Whether filters of system calls permit it. To find out, the process reads one of its own bytes.</summary>
    public static bool AllowedByFilters() => OperatingSystem.IsLinux() && CanReadItself();

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
