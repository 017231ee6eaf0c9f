using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using AllocTools.Interop;

namespace AllocTools.Mpi.Interop;

/// <summary>A loaded MPI: its functions, its constants, and its predefined handles.</summary>
/// <remarks>
/// A process loads one library and keeps it: two implementations in one process would use each other's symbols, and a
/// library can't be used again once it was finalized.
/// </remarks>
internal sealed unsafe class MpiLibrary
{
    private static volatile MpiLibrary? s_loaded;

    private readonly MpiExports _exports;
    private readonly string _name;
    private readonly nint _module;

    private MpiLibrary(string name, nint module, in MpiExports exports)
    {
        _name = name;
        _module = module;
        // Only Open MPI has these symbols.
        IsOpenMpi = NativeLibrary.TryGetExport(module, MpiConstants.OpenMpi.Handles.MPI_COMM_WORLD, out _);
        Constants = IsOpenMpi ? MpiConstants.OpenMpi : MpiConstants.Mpich;
        _exports = exports;
        MpiHandleNames names = Constants.Handles;
        World = HandleOf(module, names.MPI_COMM_WORLD);
        Self = HandleOf(module, names.MPI_COMM_SELF);
        Byte = HandleOf(module, names.MPI_BYTE);
        NoInfo = HandleOf(module, names.MPI_INFO_NULL);
        ErrorsReturn = HandleOf(module, names.MPI_ERRORS_RETURN);
        VersionText = ReadVersion();
        Version = FindVersion(VersionText);
    }

    /// <summary>Whether it is Open MPI; otherwise it is MPICH, or an implementation that shares its ABI.</summary>
    public bool IsOpenMpi { get; }

    public MpiConstants Constants { get; }

    /// <summary>MPI_COMM_WORLD.</summary>
    public nint World { get; }

    /// <summary>MPI_COMM_SELF.</summary>
    public nint Self { get; }

    /// <summary>MPI_BYTE.</summary>
    public nint Byte { get; }

    /// <summary>MPI_INFO_NULL.</summary>
    public nint NoInfo { get; }

    /// <summary>MPI_ERRORS_RETURN.</summary>
    public nint ErrorsReturn { get; }

    /// <summary>The library's description of itself: MPI_Get_library_version.</summary>
    public string VersionText { get; }

    /// <summary>The version in that text; null if it has none.</summary>
    public Version? Version { get; }

    public ref readonly MpiExports Calls => ref _exports;

    /// <summary>Whether a file, or a name that the system searches for, refers to this library.</summary>
    public bool IsNamed(string name) => name == _name || GlobalLibrary.IsLoadedAs(name, _module);

    /// <summary>The name by which it was loaded.</summary>
    public override string ToString() => _name;

    /// <summary>
    /// Loads a library, after the environment that it reads was set. Once one is loaded, returns that one or fails.
    /// Only one thread at a time may call this.
    /// </summary>
    /// <param name="name">A file, or a name that the system searches for.</param>
    /// <param name="reason">Why it can't be used; null if it does not exist. Not set on success.</param>
    public static MpiLibrary? TryLoad(string name, out string? reason)
    {
        reason = null;
        if (s_loaded is { } loaded)
        {
            if (loaded.IsNamed(name))
                return loaded;
            reason = $"{loaded} was already loaded in this process, and a process can use only one MPI: correct Implementation and LibraryPath, and restart the process";
            return null;
        }
        using SignalHandlers.Scope handlers = SignalHandlers.Keep();
        nint module = GlobalLibrary.TryLoad(name);
        if (module == 0)
            return null;
        if (!TryFindExports(module, out MpiExports exports, out reason))
        {
            reason = $"{name} is not a library of MPI 3.0 or later: it has no function {reason}";
            NativeLibrary.Free(module);
            return null;
        }
        return s_loaded = new MpiLibrary(name, module, exports);
    }

    /// <summary>Returns the class of a call's result, which is one of <see cref="MpiConstants.ErrorClasses"/>. MPI_Error_class.</summary>
    public int ClassOf(int error)
    {
        int errorClass = error;
        return error == MpiConstants.MPI_SUCCESS || _exports.MPI_Error_class(error, &errorClass) == MpiConstants.MPI_SUCCESS ? errorClass : error;
    }

    /// <summary>Returns the meaning of a call's result, or of a class. MPI_Error_string.</summary>
    public string TextOf(int error)
    {
        Span<byte> text = stackalloc byte[Constants.MPI_MAX_ERROR_STRING];
        int length = 0;
        fixed (byte* at = text)
        {
            if (_exports.MPI_Error_string(error, at, &length) != MpiConstants.MPI_SUCCESS)
                return "";
        }
        return Encoding.UTF8.GetString(text[..Math.Clamp(length, 0, text.Length)]).TrimEnd('\0', '\n', ' ');
    }

    private static nint HandleOf(nint module, string name) =>
        name.StartsWith("0x", StringComparison.Ordinal)
            ? nint.Parse(name.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture)
            : NativeLibrary.GetExport(module, name);

    private string ReadVersion()
    {
        byte[] text = new byte[Constants.MPI_MAX_LIBRARY_VERSION_STRING];
        int length = 0;
        fixed (byte* at = text)
        {
            if (_exports.MPI_Get_library_version(at, &length) != MpiConstants.MPI_SUCCESS)
                return "";
        }
        string[] words = Encoding.UTF8.GetString(text, 0, Math.Clamp(length, 0, text.Length)).TrimEnd('\0')
            .Split('\n')[0].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return string.Join(' ', words);
    }

    /// <summary>Finds the version in texts such as "Open MPI v4.1.4, package: …", "MPICH Version: 4.0.2".</summary>
    private static Version? FindVersion(string text)
    {
        foreach (string word in text.Split(' ', ','))
        {
            string digits = word.TrimStart('v');
            int end = 0;
            while (end < digits.Length && (char.IsAsciiDigit(digits[end]) || digits[end] == '.'))
                end++;
            if (Version.TryParse(digits[..end], out Version? version))
                return version;
        }
        return null;
    }

    private static bool TryFindExports(nint module, out MpiExports exports, out string? missing)
    {
        string? first = null;
        exports = new MpiExports
        {
            MPI_Initialized = (delegate* unmanaged[Cdecl]<int*, int>)Find(nameof(MpiExports.MPI_Initialized)),
            MPI_Finalized = (delegate* unmanaged[Cdecl]<int*, int>)Find(nameof(MpiExports.MPI_Finalized)),
            MPI_Init_thread = (delegate* unmanaged[Cdecl]<void*, void*, int, int*, int>)Find(nameof(MpiExports.MPI_Init_thread)),
            MPI_Query_thread = (delegate* unmanaged[Cdecl]<int*, int>)Find(nameof(MpiExports.MPI_Query_thread)),
            MPI_Finalize = (delegate* unmanaged[Cdecl]<int>)Find(nameof(MpiExports.MPI_Finalize)),
            MPI_Get_library_version = (delegate* unmanaged[Cdecl]<byte*, int*, int>)Find(nameof(MpiExports.MPI_Get_library_version)),
            MPI_Error_class = (delegate* unmanaged[Cdecl]<int, int*, int>)Find(nameof(MpiExports.MPI_Error_class)),
            MPI_Error_string = (delegate* unmanaged[Cdecl]<int, byte*, int*, int>)Find(nameof(MpiExports.MPI_Error_string)),
            MPI_Comm_idup = (delegate* unmanaged[Cdecl]<nint, nint*, nint*, int>)Find(nameof(MpiExports.MPI_Comm_idup)),
            MPI_Comm_free = (delegate* unmanaged[Cdecl]<nint*, int>)Find(nameof(MpiExports.MPI_Comm_free)),
            MPI_Comm_set_errhandler = (delegate* unmanaged[Cdecl]<nint, nint, int>)Find(nameof(MpiExports.MPI_Comm_set_errhandler)),
            MPI_Comm_rank = (delegate* unmanaged[Cdecl]<nint, int*, int>)Find(nameof(MpiExports.MPI_Comm_rank)),
            MPI_Comm_size = (delegate* unmanaged[Cdecl]<nint, int*, int>)Find(nameof(MpiExports.MPI_Comm_size)),
            MPI_Comm_get_attr = (delegate* unmanaged[Cdecl]<nint, int, void*, int*, int>)Find(nameof(MpiExports.MPI_Comm_get_attr)),
            MPI_Comm_create_keyval = (delegate* unmanaged[Cdecl]<delegate* unmanaged[Cdecl]<nint, int, void*, void*, void*, int*, int>, delegate* unmanaged[Cdecl]<nint, int, void*, void*, int>, int*, void*, int>)Find(nameof(MpiExports.MPI_Comm_create_keyval)),
            MPI_Comm_set_attr = (delegate* unmanaged[Cdecl]<nint, int, void*, int>)Find(nameof(MpiExports.MPI_Comm_set_attr)),
            MPI_Bcast = (delegate* unmanaged[Cdecl]<void*, int, nint, int, nint, int>)Find(nameof(MpiExports.MPI_Bcast)),
            MPI_Ibarrier = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Find(nameof(MpiExports.MPI_Ibarrier)),
            MPI_Iallgather = (delegate* unmanaged[Cdecl]<void*, int, nint, void*, int, nint, nint, nint*, int>)Find(nameof(MpiExports.MPI_Iallgather)),
            MPI_Iallgatherv = (delegate* unmanaged[Cdecl]<void*, int, nint, void*, int*, int*, nint, nint, nint*, int>)Find(nameof(MpiExports.MPI_Iallgatherv)),
            MPI_Win_create_dynamic = (delegate* unmanaged[Cdecl]<nint, nint, nint*, int>)Find(nameof(MpiExports.MPI_Win_create_dynamic)),
            MPI_Win_free = (delegate* unmanaged[Cdecl]<nint*, int>)Find(nameof(MpiExports.MPI_Win_free)),
            MPI_Win_set_errhandler = (delegate* unmanaged[Cdecl]<nint, nint, int>)Find(nameof(MpiExports.MPI_Win_set_errhandler)),
            MPI_Win_get_attr = (delegate* unmanaged[Cdecl]<nint, int, void*, int*, int>)Find(nameof(MpiExports.MPI_Win_get_attr)),
            MPI_Win_lock_all = (delegate* unmanaged[Cdecl]<int, nint, int>)Find(nameof(MpiExports.MPI_Win_lock_all)),
            MPI_Win_unlock_all = (delegate* unmanaged[Cdecl]<nint, int>)Find(nameof(MpiExports.MPI_Win_unlock_all)),
            MPI_Win_attach = (delegate* unmanaged[Cdecl]<nint, void*, nint, int>)Find(nameof(MpiExports.MPI_Win_attach)),
            MPI_Win_detach = (delegate* unmanaged[Cdecl]<nint, void*, int>)Find(nameof(MpiExports.MPI_Win_detach)),
            MPI_Win_flush = (delegate* unmanaged[Cdecl]<int, nint, int>)Find(nameof(MpiExports.MPI_Win_flush)),
            MPI_Get_address = (delegate* unmanaged[Cdecl]<void*, nint*, int>)Find(nameof(MpiExports.MPI_Get_address)),
            MPI_Put = (delegate* unmanaged[Cdecl]<void*, int, nint, int, nint, int, nint, nint, int>)Find(nameof(MpiExports.MPI_Put)),
            MPI_Rput = (delegate* unmanaged[Cdecl]<void*, int, nint, int, nint, int, nint, nint, nint*, int>)Find(nameof(MpiExports.MPI_Rput)),
            MPI_Rget = (delegate* unmanaged[Cdecl]<void*, int, nint, int, nint, int, nint, nint, nint*, int>)Find(nameof(MpiExports.MPI_Rget)),
            MPI_Isend = (delegate* unmanaged[Cdecl]<void*, int, nint, int, int, nint, nint*, int>)Find(nameof(MpiExports.MPI_Isend)),
            MPI_Issend = (delegate* unmanaged[Cdecl]<void*, int, nint, int, int, nint, nint*, int>)Find(nameof(MpiExports.MPI_Issend)),
            MPI_Improbe = (delegate* unmanaged[Cdecl]<int, int, nint, int*, nint*, void*, int>)Find(nameof(MpiExports.MPI_Improbe)),
            MPI_Imrecv = (delegate* unmanaged[Cdecl]<void*, int, nint, nint*, nint*, int>)Find(nameof(MpiExports.MPI_Imrecv)),
            MPI_Mrecv = (delegate* unmanaged[Cdecl]<void*, int, nint, nint*, void*, int>)Find(nameof(MpiExports.MPI_Mrecv)),
            MPI_Get_count = (delegate* unmanaged[Cdecl]<void*, nint, int*, int>)Find(nameof(MpiExports.MPI_Get_count)),
            MPI_Test = (delegate* unmanaged[Cdecl]<nint*, int*, void*, int>)Find(nameof(MpiExports.MPI_Test)),
            MPI_Testsome = (delegate* unmanaged[Cdecl]<int, void*, int*, int*, void*, int>)Find(nameof(MpiExports.MPI_Testsome)),
        };
        missing = first;
        return first is null;

        void* Find(string symbol)
        {
            if (NativeLibrary.TryGetExport(module, symbol, out nint address))
                return (void*)address;
            first ??= symbol;
            return null;
        }
    }
}
