using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;
using AllocTools.Interop;

namespace AllocTools.Libfabric.Interop;

/// <summary>A loaded libfabric, with one method for each exported function. fabric(7).</summary>
/// <remarks>
/// Exports are looked up rather than imported, so that a process can use a libfabric at a path of its choice, and a
/// test can use one made of its own functions. A library that has been accepted is never unloaded: its objects, and
/// the threads that its providers start, may outlive any handle.
/// </remarks>
internal sealed unsafe class LibfabricLibrary
{
    private static readonly Version MinimumVersion = FiVersion.Unpack(FiVersion.Api);
    private static readonly Lazy<(LibfabricLibrary? Library, string Reason)> DefaultLibrary = new(
        static () => (TryLoad(null, out string reason), reason));

    private readonly LibfabricExports _exports;

    /// <summary>Creates a library from its functions, all of which must be set.</summary>
    public LibfabricLibrary(in LibfabricExports exports)
    {
        _exports = exports;
        Version = FiVersion.Unpack(exports.fi_version());
    }

    /// <summary>The library under its default name; null if there is none.</summary>
    public static LibfabricLibrary? Default => DefaultLibrary.Value.Library;

    /// <summary>Whether the library exists under its default name and is new enough.</summary>
    public static bool IsSupported => Default is not null;

    /// <summary>Why <see cref="IsSupported"/> is false, and what to install; null if it is true.</summary>
    public static string? NotSupportedReason => IsSupported ? null : DefaultLibrary.Value.Reason;

    /// <summary>The library's version. fi_version(3).</summary>
    public Version Version { get; }

    /// <summary>Loads a library.</summary>
    /// <param name="path">A file, or a name that the system searches for; null or empty for the platform's default names.</param>
    /// <param name="reason">A sentence that names what was missing; empty on success.</param>
    /// <returns>Null if the library or a function is missing, or the library is older than 1.14.</returns>
    public static LibfabricLibrary? TryLoad(string? path, out string reason)
    {
        ForbidBacktraces();
        using SignalHandlers.Scope handlers = SignalHandlers.Keep();
        string[] names = string.IsNullOrEmpty(path) ? DefaultNames() : [path];
        foreach (string name in names)
        {
            if (!NativeLibrary.TryLoad(name, out nint module))
                continue;
            LibfabricLibrary? library = TryUse(module, name, out reason);
            if (library is null)
                NativeLibrary.Free(module);
            return library;
        }

        reason = string.IsNullOrEmpty(path)
            ? $"libfabric could not be loaded: looked for {string.Join(" and ", names)}; {InstallAdvice}."
            : $"libfabric could not be loaded: LibraryPath is '{path}', which {(File.Exists(path) ? "is not a library that can be loaded here" : "does not exist")}. Correct it; or leave it out, and {InstallAdvice}.";
        return null;
    }

    /// <summary>fi_getinfo(3).</summary>
    /// <param name="version">The API version that the caller is written for, usually <see cref="FiVersion.Api"/>.</param>
    /// <param name="node">A host name or address, or null.</param>
    /// <param name="service">A port, or null.</param>
    /// <param name="flags"><see cref="FiFlags"/>, FI_SOURCE.</param>
    /// <param name="hints">From <see cref="DupInfo"/>, or null.</param>
    /// <param name="info">A list that <see cref="FreeInfo"/> frees; null unless the status is 0.</param>
    public int GetInfo(uint version, string? node, string? service, ulong flags, fi_info* hints, out fi_info* info)
    {
        fi_info* found = null;
        byte* nodeText = null;
        byte* serviceText = null;
        int status;
        try
        {
            using SignalHandlers.Scope handlers = SignalHandlers.Keep();
            nodeText = Utf8StringMarshaller.ConvertToUnmanaged(node);
            serviceText = Utf8StringMarshaller.ConvertToUnmanaged(service);
            status = _exports.fi_getinfo(version, nodeText, serviceText, flags, hints, &found);
        }
        finally
        {
            Utf8StringMarshaller.Free(serviceText);
            Utf8StringMarshaller.Free(nodeText);
        }

        if (status == 0 && found == null)
            status = -FiErrno.FI_ENODATA;
        info = status == 0 ? found : null;
        return status;
    }

    /// <summary>Frees a list and everything that it references. fi_getinfo(3).</summary>
    public void FreeInfo(fi_info* info)
    {
        if (info != null)
            _exports.fi_freeinfo(info);
    }

    /// <summary>Copies one entry; for null, creates an empty one with all its parts (fi_allocinfo). fi_getinfo(3).</summary>
    /// <returns>Null if there is no memory.</returns>
    public fi_info* DupInfo(fi_info* info) => _exports.fi_dupinfo(info);

    /// <summary>fi_fabric(3).</summary>
    public int OpenFabric(fi_fabric_attr* attr, out FabricHandle? fabric)
    {
        fid_fabric* opened = null;
        using SignalHandlers.Scope handlers = SignalHandlers.Keep();
        int status = FidHandle.CheckOpened(_exports.fi_fabric(attr, &opened, null), opened);
        fabric = status == 0 ? new FabricHandle(opened) : null;
        return status;
    }

    /// <summary>Returns libfabric's text for a status of either sign. fi_errno(3).</summary>
    public string StrError(int status)
        => Marshal.PtrToStringUTF8((nint)_exports.fi_strerror(status < 0 ? unchecked(-status) : status)) ?? FiErrno.NameOf(status);

    /// <summary>
    /// Prevents the signal handlers of libinfinipath (psm), which Debian's libfabric is linked with. While it is
    /// loaded, it installs handlers for SIGSEGV, SIGBUS, SIGILL, SIGABRT, SIGINT and SIGTERM for its backtraces: from
    /// then on a NullReferenceException, Ctrl+C or a stop request ends a .NET process at once. The variable must be
    /// set before the load. <see cref="SignalHandlers"/> would restore the handlers, but too late for another thread
    /// that causes or receives a signal during the load.
    /// </summary>
    private static void ForbidBacktraces()
    {
        if (OperatingSystem.IsLinux())
            NativeEnvironment.TrySet("IPATH_NO_BACKTRACE", "1");
    }

    private static string[] DefaultNames()
        => OperatingSystem.IsWindows() ? ["libfabric-1.dll", "libfabric.dll"]
            : OperatingSystem.IsMacOS() ? ["libfabric.1.dylib", "libfabric.dylib"]
            : ["libfabric.so.1"];

    private static string InstallAdvice
        => "install it with 'apt-get install libfabric1' (Debian, Ubuntu), 'dnf install libfabric' (Fedora, RHEL) "
            + "or 'brew install libfabric' (macOS)";

    private static LibfabricLibrary? TryUse(nint module, string name, out string reason)
    {
        if (!TryFindExports(module, out LibfabricExports exports, out string missing))
        {
            reason = $"{name} is not libfabric {MinimumVersion} or later: it has no function {missing}; {InstallAdvice}.";
            return null;
        }

        LibfabricLibrary library = new(exports);
        if (library.Version < MinimumVersion)
        {
            reason = $"{name} is libfabric {library.Version}, and {MinimumVersion} or later is needed; {InstallAdvice}.";
            return null;
        }

        reason = "";
        return library;
    }

    private static bool TryFindExports(nint module, out LibfabricExports exports, out string missing)
    {
        LibfabricExports found = default;
        exports = default;
        if (!Find(missing = "fi_version", out void* function))
            return false;
        found.fi_version = (delegate* unmanaged[Cdecl]<uint>)function;
        if (!Find(missing = "fi_getinfo", out function))
            return false;
        found.fi_getinfo = (delegate* unmanaged[Cdecl]<uint, byte*, byte*, ulong, fi_info*, fi_info**, int>)function;
        if (!Find(missing = "fi_freeinfo", out function))
            return false;
        found.fi_freeinfo = (delegate* unmanaged[Cdecl]<fi_info*, void>)function;
        if (!Find(missing = "fi_dupinfo", out function))
            return false;
        found.fi_dupinfo = (delegate* unmanaged[Cdecl]<fi_info*, fi_info*>)function;
        if (!Find(missing = "fi_fabric", out function))
            return false;
        found.fi_fabric = (delegate* unmanaged[Cdecl]<fi_fabric_attr*, fid_fabric**, void*, int>)function;
        if (!Find(missing = "fi_strerror", out function))
            return false;
        found.fi_strerror = (delegate* unmanaged[Cdecl]<int, byte*>)function;
        exports = found;
        return true;

        bool Find(string symbol, out void* address)
        {
            bool there = NativeLibrary.TryGetExport(module, symbol, out nint value);
            address = (void*)value;
            return there;
        }
    }
}

/// <summary>The exported functions that the binding calls; all others are reached through tables. fabric(7).</summary>
internal unsafe struct LibfabricExports
{
    public delegate* unmanaged[Cdecl]<uint, byte*, byte*, ulong, fi_info*, fi_info**, int> fi_getinfo;
    public delegate* unmanaged[Cdecl]<fi_info*, void> fi_freeinfo;
    public delegate* unmanaged[Cdecl]<fi_info*, fi_info*> fi_dupinfo;
    public delegate* unmanaged[Cdecl]<fi_fabric_attr*, fid_fabric**, void*, int> fi_fabric;
    public delegate* unmanaged[Cdecl]<uint> fi_version;
    public delegate* unmanaged[Cdecl]<int, byte*> fi_strerror;
}
