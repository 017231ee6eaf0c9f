using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>Waits until another thread or process changes a word of memory that they share: futex(2).</summary>
internal static unsafe partial class Futex
{
    private const int WaitOperation = 0;
    private const int WakeOperation = 1;

    private static readonly nint Number = RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => 202,
        Architecture.Arm64 => 98,
        _ => -1,
    };

    /// <summary>Whether futexes can be used. False if the number of the system call is not known here.</summary>
    public static bool IsSupported => OperatingSystem.IsLinux() && Number >= 0;

    /// <summary>Waits while the word has a value, until the thread is woken, the time is over, or a signal arrives.</summary>
    public static void Wait(ref int word, int value, TimeSpan longest)
    {
        var time = new TimeSpec { Seconds = (nint)longest.TotalSeconds, Nanoseconds = (nint)(longest.Ticks % TimeSpan.TicksPerSecond * 100) };
        fixed (int* address = &word)
            _ = syscall(Number, address, WaitOperation, value, &time);
    }

    /// <summary>Wakes all threads that wait for the word to change. The caller changes it first.</summary>
    public static void Wake(ref int word)
    {
        fixed (int* address = &word)
            _ = syscall(Number, address, WakeOperation, int.MaxValue, null);
    }

    [LibraryImport("libc")]
    private static partial nint syscall(nint number, int* word, nint operation, nint value, TimeSpec* time);

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public nint Seconds;
        public nint Nanoseconds;
    }
}
