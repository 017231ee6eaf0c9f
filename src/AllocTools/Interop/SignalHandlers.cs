using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>
/// Puts back what the process does on signals, after calls into native code that takes them for itself. A .NET process
/// needs its own handlers: a NullReferenceException begins as SIGSEGV, and a stop request is SIGTERM. sigaction(2).
/// </summary>
/// <remarks>
/// Thread-safe: scopes that overlap share what the first of them found, since the second may already see what is to be
/// undone. A handler of the runtime's that another thread asks for meanwhile stays; one of other native code is undone with the rest.
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
                if (!((ReadOnlySpan<byte>)now).SequenceEqual(Before[i]) && !IsOfRuntime(now))
                    Write(Kept[i], in Before[i]);
            }
        }
    }

    /// <summary>The handler, which is the first field, is of one of the runtime's libraries, or of the program, which the runtime is part of when it is compiled ahead of time.</summary>
    private static bool IsOfRuntime(in Disposition disposition)
    {
        nint handler = Unsafe.As<Disposition, nint>(ref Unsafe.AsRef(in disposition));
        if (FindFile(handler) is not { } file)
            return false;
        string name = Path.GetFileName(file);
        return name is "libSystem.Native.so" or "libcoreclr.so" || name == Path.GetFileName(Environment.ProcessPath);
    }

    /// <summary>The file that code is of; null for 0 and 1, which are not handlers. dladdr(3).</summary>
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
            // glibc before 2.34.
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

    /// <summary>A <c>struct sigaction</c>, unread but for the handler: 152 bytes with glibc and musl on 64-bit systems.</summary>
    [System.Runtime.CompilerServices.InlineArray(256)]
    private struct Disposition
    {
        private byte _first;
    }
}
