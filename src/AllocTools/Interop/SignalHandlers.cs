using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>
/// Restores the process's handling of signals after calls into native code that installs its own handlers. A .NET
/// process needs its own: a NullReferenceException begins as SIGSEGV, and a stop request is SIGTERM. sigaction(2).
/// </summary>
/// <remarks>
/// This is thread-safe: overlapping scopes share the state that the first of them found, because the second may
/// already see a change that is to be undone. A handler that the runtime installs meanwhile on behalf of another
/// thread stays; one of other native code is undone with the rest.
/// </remarks>
internal static unsafe partial class SignalHandlers
{
    // SIGINT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGTERM on Linux: the signals that handlers for backtraces and clean-up use.
    private static readonly int[] Kept = [2, 4, 6, 7, 8, 11, 15];
    private static readonly Lock Gate = new();
    private static readonly Disposition[] Before = new Disposition[Kept.Length];
    private static int _open;

    /// <summary>
    /// Begins a scope in which native code may install handlers, which are undone at its end. Does nothing on systems
    /// other than Linux.
    /// </summary>
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
                if (!((ReadOnlySpan<byte>)now).SequenceEqual(Before[i]) && !IsOfRuntime(now))
                    Write(Kept[i], in Before[i]);
            }
        }
    }

    /// <summary>
    /// Whether the handler, which is the first field, belongs to one of the runtime's libraries, or to the program,
    /// which contains the runtime if it is compiled ahead of time.
    /// </summary>
    private static bool IsOfRuntime(in Disposition disposition)
    {
        nint handler = Unsafe.As<Disposition, nint>(ref Unsafe.AsRef(in disposition));
        if (FindFile(handler) is not { } file)
            return false;
        string name = Path.GetFileName(file);
        return name is "libSystem.Native.so" or "libcoreclr.so" || name == Path.GetFileName(Environment.ProcessPath);
    }

    /// <summary>Returns the file that code belongs to; null for 0 and 1, which are not handlers. dladdr(3).</summary>
    private static string? FindFile(nint code)
    {
        Symbol symbol;
        int found;
        try
        {
            found = dladdr(code, &symbol);
        }
        catch (EntryPointNotFoundException)
        {
            // This is glibc before 2.34.
            found = dladdrOfLibdl(code, &symbol);
        }
        return found != 0 ? Marshal.PtrToStringUTF8(symbol.File) : null;
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

    [LibraryImport("libc")]
    private static partial int dladdr(nint address, Symbol* symbol);

    [LibraryImport("libdl.so.2", EntryPoint = "dladdr")]
    private static partial int dladdrOfLibdl(nint address, Symbol* symbol);

    internal readonly struct Scope(bool isOpen) : IDisposable
    {
        public void Dispose()
        {
            if (isOpen)
                PutBack();
        }
    }

    /// <summary>A <c>Dl_info</c>.</summary>
    private struct Symbol
    {
        public nint File;
        public nint Base;
        public nint Name;
        public nint Address;
    }

    /// <summary>A <c>struct sigaction</c>, of which only the handler is read: 152 bytes with glibc and musl on 64-bit systems.</summary>
    [System.Runtime.CompilerServices.InlineArray(256)]
    private struct Disposition
    {
        private byte _first;
    }
}
