using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>
/// Puts back what the process does on signals, after calls into native code that takes them for itself. A .NET process
/// needs its own handlers: a NullReferenceException begins as SIGSEGV, and a stop request is SIGTERM. sigaction(2).
/// </summary>
/// <remarks>
/// Thread-safe: scopes that overlap share what the first of them found, since the second may already see what is to be
/// undone. A handler that another thread sets while a scope is open is undone with it.
/// </remarks>
internal static unsafe partial class SignalHandlers
{
    // SIGINT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGTERM on Linux: those that handlers for backtraces and clean-up take.
    private static readonly int[] Kept = [2, 4, 6, 7, 8, 11, 15];
    private static readonly Lock Gate = new();
    private static readonly Disposition[] Before = new Disposition[Kept.Length];
    private static int _open;

    /// <summary>Until it is disposed, handlers may be taken. Nothing happens on systems other than Linux.</summary>
    public static Scope Keep()
    {
        if (!OperatingSystem.IsLinux())
            return default;
        lock (Gate)
        {
            if (_open == 0)
            {
                for (int i = 0; i < Kept.Length; i++)
                    Read(Kept[i], ref Before[i]);
            }
            _open++;
        }
        return new Scope(isOpen: true);
    }

    private static void PutBack()
    {
        lock (Gate)
        {
            _open--;
            for (int i = 0; i < Kept.Length; i++)
            {
                Disposition now = default;
                Read(Kept[i], ref now);
                if (!((ReadOnlySpan<byte>)now).SequenceEqual(Before[i]))
                    Write(Kept[i], in Before[i]);
            }
        }
    }

    private static void Read(int signal, ref Disposition disposition)
    {
        fixed (Disposition* at = &disposition)
            Check(sigaction(signal, null, at));
    }

    private static void Write(int signal, in Disposition disposition)
    {
        fixed (Disposition* at = &disposition)
            Check(sigaction(signal, at, null));
    }

    private static void Check(int status)
    {
        if (status != 0)
            throw new InvalidOperationException($"The handlers of signals could not be kept: {Marshal.GetLastPInvokeErrorMessage()}.");
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int sigaction(int signal, Disposition* set, Disposition* previous);

    internal readonly struct Scope(bool isOpen) : IDisposable
    {
        public void Dispose()
        {
            if (isOpen)
                PutBack();
        }
    }

    /// <summary>A <c>struct sigaction</c>, unread: 152 bytes with glibc and musl on 64-bit systems.</summary>
    [System.Runtime.CompilerServices.InlineArray(256)]
    private struct Disposition
    {
        private byte _first;
    }
}
