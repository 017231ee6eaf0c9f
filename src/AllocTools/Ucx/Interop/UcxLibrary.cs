using System.Runtime.InteropServices;
using AllocTools.Interop;

namespace AllocTools.Ucx.Interop;

/// <summary>A loaded UCX: the functions that are called of libucp, and of libucs, which it is linked with.</summary>
/// <remarks>
/// A process loads one library and keeps it: a second libucp would be linked with the first one's libucs, which has
/// the same name. Its functions are looked up rather than imported. Some settings are read while it is loaded, so
/// <see cref="SetBeforeLoading"/> is called first.
/// </remarks>
internal sealed unsafe partial class UcxLibrary
{
    /// <summary>The API that the binding is written for, which the library compares with its own.</summary>
    public const uint ApiMajor = 1, ApiMinor = 11;

    private static readonly Version MinimumVersion = new((int)ApiMajor, (int)ApiMinor);
    private static readonly Lazy<bool> IsInstalled = new(static () => GlobalLibrary.IsThere(DefaultName));
    private static readonly Lock LoadGate = new();
    private static volatile UcxLibrary? s_loaded;

    private readonly UcxExports _exports;
    private readonly string _name;
    private readonly nint _module;

    private UcxLibrary(string name, nint module, in UcxExports exports)
    {
        _name = name;
        _module = module;
        _exports = exports;
        uint major, minor, release;
        exports.ucp_get_version(&major, &minor, &release);
        Version = new Version((int)major, (int)minor, (int)release);
    }

    /// <summary>Whether a library is loaded, or the system finds one by its name.</summary>
    public static bool IsThere => s_loaded is not null || IsInstalled.Value;

    /// <summary>Why there is no library, and what to install; null if there is one.</summary>
    public static string? NotSupportedReason => IsThere ? null : OperatingSystem.IsLinux() ? NotThere : LinuxOnly;

    /// <summary>Whether any UCX is loaded in this process, by this library or others: MPI may be built on it.</summary>
    public static bool IsLoaded => FindMapped() is not null;

    /// <summary>The library's version. ucp_get_version.</summary>
    public Version Version { get; }

    /// <summary>The functions.</summary>
    public ref readonly UcxExports Exports => ref _exports;

    /// <summary>Loads a library. Once one is loaded, returns that one or fails.</summary>
    /// <param name="path">A file of libucp; null or empty for the system's libucp.so.0.</param>
    /// <param name="reason">A sentence that names what was missing; empty on success.</param>
    public static UcxLibrary? TryLoad(string? path, out string reason)
    {
        if (!OperatingSystem.IsLinux())
        {
            reason = LinuxOnly;
            return null;
        }
        string name = string.IsNullOrEmpty(path) ? DefaultName : path;
        lock (LoadGate)
        {
            if (FindReasonAgainst(name) is { } against)
            {
                reason = against;
                return null;
            }
            reason = "";
            return s_loaded ??= Load(name, out reason);
        }
    }

    private static UcxLibrary? Load(string name, out string reason)
    {
        SetBeforeLoading();
        using SignalHandlers.Scope handlers = SignalHandlers.Keep();
        if (!NativeLibrary.TryLoad(name, out nint module))
        {
            reason = name == DefaultName ? NotThere : $"UCX could not be loaded: LibraryPath is '{name}', which {(File.Exists(name) ? "is not a library that can be loaded here" : "does not exist")}. {Correction}";
            return null;
        }
        if (!UcxExports.TryFind(module, out UcxExports exports, out string missing))
        {
            reason = $"{name} is not UCX {MinimumVersion} or later: it has no function {missing}; {InstallAdvice}.";
            NativeLibrary.Free(module);
            return null;
        }
        UcxLibrary library = new(name, module, exports);
        reason = library.Version < MinimumVersion ? $"{name} is UCX {library.Version}, and {MinimumVersion} or later is needed; {InstallAdvice}." : "";
        return reason.Length == 0 ? library : null;
    }

    /// <summary>Returns UCX's text for a status. ucs_status_string.</summary>
    public string TextOf(sbyte status) => Marshal.PtrToStringUTF8((nint)_exports.ucs_status_string(status)) ?? "";

    /// <summary>Returns UCX's printed description of a context; empty if there is no memory for it. ucp_context_print_info.</summary>
    public string PrintInfo(void* context)
    {
        byte* text;
        nuint length;
        void* stream = open_memstream(&text, &length);
        if (stream == null)
            return "";
        _exports.ucp_context_print_info(context, stream);
        _ = fclose(stream);
        string printed = Marshal.PtrToStringUTF8((nint)text, (int)length);
        NativeMemory.Free(text);
        return printed;
    }

    /// <summary>Whether a pointer of type ucs_status_ptr_t carries an error.</summary>
    public static bool IsError(void* result) => (nuint)result >= unchecked((nuint)(nint)UcsStatus.UCS_ERR_LAST);

    /// <summary>Returns the error that such a pointer carries.</summary>
    public static sbyte StatusOf(void* result) => (sbyte)(nint)result;

    /// <remarks>
    /// UCX handles SIGSEGV, SIGBUS, SIGILL and SIGFPE to print a backtrace: a NullReferenceException, which begins as
    /// SIGSEGV, would end the process. It changes the code of mmap and munmap to track unmapped memory; the pool does
    /// not need that, because it deregisters its own memory before unmapping it. It also logs to standard output,
    /// which belongs to the application. Values that the environment sets are kept.
    /// </remarks>
    private static void SetBeforeLoading()
    {
        NativeEnvironment.TrySet("UCX_ERROR_SIGNALS", "");
        NativeEnvironment.TrySet("UCX_MEM_MMAP_HOOK_MODE", "none");
        NativeEnvironment.TrySet("UCX_MEM_EVENTS", "n");
        NativeEnvironment.TrySet("UCX_LOG_FILE", "stderr");
    }

    [LibraryImport("libc")]
    private static partial void* open_memstream(byte** text, nuint* length);

    [LibraryImport("libc")]
    private static partial int fclose(void* stream);

    /// <summary>Returns why a library can't be the one of this process; null if it can, or already is.</summary>
    private static string? FindReasonAgainst(string name)
    {
        bool isFile = name.Contains('/', StringComparison.Ordinal);
        if (isFile && !File.Exists(name))
            return $"UCX could not be loaded: LibraryPath is '{name}', which does not exist. {Correction}";
        if (s_loaded is { } loaded)
            return name == loaded._name || GlobalLibrary.IsLoadedAs(name, loaded._module) ? null : Contradiction(loaded._name);
        // A name stands for the library that is loaded; a file may differ from the one that MPI or the application has loaded.
        return isFile && FindMapped() is { } mapped && !GlobalLibrary.IsLoaded(name) && !GlobalLibrary.IsLoaded(LibucsBeside(name)) ? Contradiction(mapped) : null;

        string Contradiction(string other) =>
            $"UCX could not be loaded: LibraryPath is '{name}', but {other} was already loaded in this process, and a process can use only one UCX. Correct LibraryPath, and restart the process.";

        static string LibucsBeside(string file) =>
            Path.Combine(Path.GetDirectoryName(File.ResolveLinkTarget(file, returnFinalTarget: true)?.FullName ?? Path.GetFullPath(file))!, "libucs.so.0");
    }

    /// <summary>Returns the file of the libucs that is loaded in this process; null if there is none. proc_pid_maps(5).</summary>
    public static string? FindMapped() => !OperatingSystem.IsLinux() ? null : File.ReadLines("/proc/self/maps")
        .Where(static l => l.Contains("/libucs.so.", StringComparison.Ordinal))
        .Select(static l => l[l.IndexOf('/', StringComparison.Ordinal)..])
        .FirstOrDefault();

    private const string DefaultName = "libucp.so.0";
    private const string LinuxOnly = "UCX runs on Linux only.";
    private const string NotThere = $"UCX could not be loaded: looked for {DefaultName}; {InstallAdvice}.";
    private const string Correction = $"Correct it; or leave it out, and {InstallAdvice}.";
    private const string InstallAdvice = "install it with 'apt-get install libucx0' (Debian, Ubuntu) or 'dnf install ucx' (Fedora, RHEL)";
}

/// <summary>The functions that are called, by their names.</summary>
internal unsafe struct UcxExports
{
    public delegate* unmanaged[Cdecl]<uint*, uint*, uint*, void> ucp_get_version;
    public delegate* unmanaged[Cdecl]<byte*, byte*, void**, sbyte> ucp_config_read;
    public delegate* unmanaged[Cdecl]<void*, byte*, byte*, sbyte> ucp_config_modify;
    public delegate* unmanaged[Cdecl]<void*, void> ucp_config_release;
    public delegate* unmanaged[Cdecl]<uint, uint, ucp_params*, void*, void**, sbyte> ucp_init_version;
    public delegate* unmanaged[Cdecl]<void*, void> ucp_cleanup;
    public delegate* unmanaged[Cdecl]<void*, ucp_context_attr*, sbyte> ucp_context_query;
    public delegate* unmanaged[Cdecl]<void*, void*, void> ucp_context_print_info;
    public delegate* unmanaged[Cdecl]<void*, ucp_mem_map_params*, void**, sbyte> ucp_mem_map;
    public delegate* unmanaged[Cdecl]<void*, void*, sbyte> ucp_mem_unmap;
    public delegate* unmanaged[Cdecl]<void*, void*, void**, nuint*, sbyte> ucp_rkey_pack;
    public delegate* unmanaged[Cdecl]<void*, void> ucp_rkey_buffer_release;
    public delegate* unmanaged[Cdecl]<void*, ucp_worker_params*, void**, sbyte> ucp_worker_create;
    public delegate* unmanaged[Cdecl]<void*, void> ucp_worker_destroy;
    public delegate* unmanaged[Cdecl]<void*, ucp_worker_attr*, sbyte> ucp_worker_query;
    public delegate* unmanaged[Cdecl]<void*, void**, nuint*, sbyte> ucp_worker_get_address;
    public delegate* unmanaged[Cdecl]<void*, void*, void> ucp_worker_release_address;
    public delegate* unmanaged[Cdecl]<void*, int*, sbyte> ucp_worker_get_efd;
    public delegate* unmanaged[Cdecl]<void*, sbyte> ucp_worker_arm;
    public delegate* unmanaged[Cdecl]<void*, uint> ucp_worker_progress;
    public delegate* unmanaged[Cdecl]<void*, ucp_request_param*, void*> ucp_worker_flush_nbx;
    public delegate* unmanaged[Cdecl]<void*, ucp_ep_params*, void**, sbyte> ucp_ep_create;
    public delegate* unmanaged[Cdecl]<void*, ucp_request_param*, void*> ucp_ep_close_nbx;
    public delegate* unmanaged[Cdecl]<void*, ucp_request_param*, void*> ucp_ep_flush_nbx;
    public delegate* unmanaged[Cdecl]<void*, void*, void**, sbyte> ucp_ep_rkey_unpack;
    public delegate* unmanaged[Cdecl]<void*, void> ucp_rkey_destroy;
    public delegate* unmanaged[Cdecl]<void*, void*, nuint, ulong, void*, ucp_request_param*, void*> ucp_put_nbx;
    public delegate* unmanaged[Cdecl]<void*, void*, nuint, ulong, void*, ucp_request_param*, void*> ucp_get_nbx;
    public delegate* unmanaged[Cdecl]<void*, void*, nuint, ulong, ucp_request_param*, void*> ucp_tag_send_nbx;
    public delegate* unmanaged[Cdecl]<void*, void*, nuint, ulong, ulong, ucp_request_param*, void*> ucp_tag_recv_nbx;
    public delegate* unmanaged[Cdecl]<void*, void*, void> ucp_request_cancel;
    public delegate* unmanaged[Cdecl]<void*, sbyte> ucp_request_check_status;
    public delegate* unmanaged[Cdecl]<void*, void> ucp_request_free;
    public delegate* unmanaged[Cdecl]<sbyte, byte*> ucs_status_string;

    /// <summary>Looks up all functions.</summary>
    /// <param name="module">libucp. The libraries that it is linked with are searched, too.</param>
    /// <param name="exports">The functions.</param>
    /// <param name="missing">The name of a function that does not exist; empty if all do.</param>
    public static bool TryFind(nint module, out UcxExports exports, out string missing)
    {
        string lacks = "";
        exports = default;
        exports.ucp_get_version = (delegate* unmanaged[Cdecl]<uint*, uint*, uint*, void>)Find(nameof(ucp_get_version));
        exports.ucp_config_read = (delegate* unmanaged[Cdecl]<byte*, byte*, void**, sbyte>)Find(nameof(ucp_config_read));
        exports.ucp_config_modify = (delegate* unmanaged[Cdecl]<void*, byte*, byte*, sbyte>)Find(nameof(ucp_config_modify));
        exports.ucp_config_release = (delegate* unmanaged[Cdecl]<void*, void>)Find(nameof(ucp_config_release));
        exports.ucp_init_version = (delegate* unmanaged[Cdecl]<uint, uint, ucp_params*, void*, void**, sbyte>)Find(nameof(ucp_init_version));
        exports.ucp_cleanup = (delegate* unmanaged[Cdecl]<void*, void>)Find(nameof(ucp_cleanup));
        exports.ucp_context_query = (delegate* unmanaged[Cdecl]<void*, ucp_context_attr*, sbyte>)Find(nameof(ucp_context_query));
        exports.ucp_context_print_info = (delegate* unmanaged[Cdecl]<void*, void*, void>)Find(nameof(ucp_context_print_info));
        exports.ucp_mem_map = (delegate* unmanaged[Cdecl]<void*, ucp_mem_map_params*, void**, sbyte>)Find(nameof(ucp_mem_map));
        exports.ucp_mem_unmap = (delegate* unmanaged[Cdecl]<void*, void*, sbyte>)Find(nameof(ucp_mem_unmap));
        exports.ucp_rkey_pack = (delegate* unmanaged[Cdecl]<void*, void*, void**, nuint*, sbyte>)Find(nameof(ucp_rkey_pack));
        exports.ucp_rkey_buffer_release = (delegate* unmanaged[Cdecl]<void*, void>)Find(nameof(ucp_rkey_buffer_release));
        exports.ucp_worker_create = (delegate* unmanaged[Cdecl]<void*, ucp_worker_params*, void**, sbyte>)Find(nameof(ucp_worker_create));
        exports.ucp_worker_destroy = (delegate* unmanaged[Cdecl]<void*, void>)Find(nameof(ucp_worker_destroy));
        exports.ucp_worker_query = (delegate* unmanaged[Cdecl]<void*, ucp_worker_attr*, sbyte>)Find(nameof(ucp_worker_query));
        exports.ucp_worker_get_address = (delegate* unmanaged[Cdecl]<void*, void**, nuint*, sbyte>)Find(nameof(ucp_worker_get_address));
        exports.ucp_worker_release_address = (delegate* unmanaged[Cdecl]<void*, void*, void>)Find(nameof(ucp_worker_release_address));
        exports.ucp_worker_get_efd = (delegate* unmanaged[Cdecl]<void*, int*, sbyte>)Find(nameof(ucp_worker_get_efd));
        exports.ucp_worker_arm = (delegate* unmanaged[Cdecl]<void*, sbyte>)Find(nameof(ucp_worker_arm));
        exports.ucp_worker_progress = (delegate* unmanaged[Cdecl]<void*, uint>)Find(nameof(ucp_worker_progress));
        exports.ucp_worker_flush_nbx = (delegate* unmanaged[Cdecl]<void*, ucp_request_param*, void*>)Find(nameof(ucp_worker_flush_nbx));
        exports.ucp_ep_create = (delegate* unmanaged[Cdecl]<void*, ucp_ep_params*, void**, sbyte>)Find(nameof(ucp_ep_create));
        exports.ucp_ep_close_nbx = (delegate* unmanaged[Cdecl]<void*, ucp_request_param*, void*>)Find(nameof(ucp_ep_close_nbx));
        exports.ucp_ep_flush_nbx = (delegate* unmanaged[Cdecl]<void*, ucp_request_param*, void*>)Find(nameof(ucp_ep_flush_nbx));
        exports.ucp_ep_rkey_unpack = (delegate* unmanaged[Cdecl]<void*, void*, void**, sbyte>)Find(nameof(ucp_ep_rkey_unpack));
        exports.ucp_rkey_destroy = (delegate* unmanaged[Cdecl]<void*, void>)Find(nameof(ucp_rkey_destroy));
        exports.ucp_put_nbx = (delegate* unmanaged[Cdecl]<void*, void*, nuint, ulong, void*, ucp_request_param*, void*>)Find(nameof(ucp_put_nbx));
        exports.ucp_get_nbx = (delegate* unmanaged[Cdecl]<void*, void*, nuint, ulong, void*, ucp_request_param*, void*>)Find(nameof(ucp_get_nbx));
        exports.ucp_tag_send_nbx = (delegate* unmanaged[Cdecl]<void*, void*, nuint, ulong, ucp_request_param*, void*>)Find(nameof(ucp_tag_send_nbx));
        exports.ucp_tag_recv_nbx = (delegate* unmanaged[Cdecl]<void*, void*, nuint, ulong, ulong, ucp_request_param*, void*>)Find(nameof(ucp_tag_recv_nbx));
        exports.ucp_request_cancel = (delegate* unmanaged[Cdecl]<void*, void*, void>)Find(nameof(ucp_request_cancel));
        exports.ucp_request_check_status = (delegate* unmanaged[Cdecl]<void*, sbyte>)Find(nameof(ucp_request_check_status));
        exports.ucp_request_free = (delegate* unmanaged[Cdecl]<void*, void>)Find(nameof(ucp_request_free));
        exports.ucs_status_string = (delegate* unmanaged[Cdecl]<sbyte, byte*>)Find(nameof(ucs_status_string));
        missing = lacks;
        return missing.Length == 0;

        nint Find(string name)
        {
            if (NativeLibrary.TryGetExport(module, name, out nint address))
                return address;
            if (lacks.Length == 0)
                lacks = name;
            return 0;
        }
    }
}
