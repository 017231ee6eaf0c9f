using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>Waits on file descriptors with ppoll(2), and on an eventfd(2) that wakes the wait.</summary>
internal static unsafe partial class DescriptorWait
{
    private const short PollIn = 1;
    private const int CloseOnExecNonBlocking = 0x80800;
    private const int Interrupted = 4;

    /// <summary>Whether descriptors can be waited on, which is the case on Linux.</summary>
    public static bool IsSupported => OperatingSystem.IsLinux();

    public static int CreateEvent()
    {
        int descriptor = eventfd(0, CloseOnExecNonBlocking);
        return descriptor >= 0
            ? descriptor
            : throw new InvalidOperationException($"eventfd failed: {Marshal.GetLastPInvokeErrorMessage()}.");
    }

    public static void Signal(int eventDescriptor)
    {
        ulong one = 1;
        // The call fails only if the counter is full (then the event is signalled) or the descriptor is closed.
        _ = write(eventDescriptor, &one, sizeof(ulong));
    }

    /// <summary>Waits until either descriptor can be read or the time is over, and resets the event.</summary>
    /// <returns>Whether the first descriptor can be read, whether it can't be waited on, and whether the event was signalled.</returns>
    public static (bool IsReady, bool IsBroken, bool IsSignalled) Wait(int descriptor, int eventDescriptor, TimeSpan timeout)
    {
        // poll ignores a negative descriptor.
        PollDescriptor* pair = stackalloc PollDescriptor[2];
        pair[0] = new PollDescriptor { Descriptor = descriptor, Events = PollIn };
        pair[1] = new PollDescriptor { Descriptor = eventDescriptor, Events = PollIn };
        var time = new TimeSpec { Seconds = (nint)timeout.TotalSeconds, Nanoseconds = (nint)(timeout.Ticks % TimeSpan.TicksPerSecond * 100) };
        int ready = ppoll(pair, 2, &time, 0);
        if (ready < 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
                throw new InvalidOperationException($"ppoll failed: {Marshal.GetPInvokeErrorMessage(error)}.");
            return default;
        }
        bool isSignalled = pair[1].Returned != 0;
        if (isSignalled)
        {
            ulong count;
            _ = read(eventDescriptor, &count, sizeof(ulong));
        }
        return ((pair[0].Returned & PollIn) != 0, (pair[0].Returned & ~PollIn) != 0, isSignalled);
    }

    public static void Close(int descriptor) => _ = close(descriptor);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int eventfd(uint initial, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ppoll(PollDescriptor* descriptors, nuint count, TimeSpec* timeout, nint signalMask);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int descriptor, void* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int descriptor, void* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int descriptor);

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public nint Seconds;
        public nint Nanoseconds;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollDescriptor
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }
}
