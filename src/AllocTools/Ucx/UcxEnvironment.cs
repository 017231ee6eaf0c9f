using System.Globalization;
using System.Runtime.InteropServices.Marshalling;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Ucx.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Ucx;

/// <summary>UCX's own settings: those of the process, in its environment, and those of a context. What the operator has set stays.</summary>
internal static unsafe class UcxEnvironment
{
    /// <summary>How the names begin of what UCX reads once, while it is loaded (<c>ucs/config/global_opts.h</c>, <c>ucm/api/ucm.h</c>).</summary>
    private static readonly string[] ReadAtLoading =
    [
        "ASYNC_", "BUILTIN_MEMCPY_", "DEBUG_SIGNO", "ERROR_", "GDB_COMMAND", "HANDLE_ERRORS", "LOG_", "MEMTRACK_", "MEMTYPE_CACHE", "MEM_", "MODULE", "PROFILE_",
        "RCACHE_", "STATS_", "TOPO_", "VFS_", "WARN_UNUSED_",
    ];

    private static readonly Lock Gate = new();

    /// <summary>Sets <see cref="UcxOptions.Settings"/>, and what the options need besides, for all contexts from here on.</summary>
    public static void Apply(UcxOptions options, ILogger logger)
    {
        lock (Gate)
        {
            foreach ((string name, string value) in options.Settings)
            {
                if (NativeEnvironment.Get(name) is { } there)
                {
                    if (there != value)
                        Log.UcxSettingKept(logger, name, value);
                }
                else if (IsReadAtLoading(name) && UcxLibrary.IsLoaded)
                {
                    Log.UcxSettingTooLate(logger, name, value);
                }
                else
                {
                    NativeEnvironment.TrySet(name, value);
                }
            }
            // UCX's default keeps shared memory from connections that are to notice a peer that is gone; where it is asked for by name it is wanted.
            if (options.ErrorHandling == UcxErrorHandling.Peer)
            {
                foreach (string transport in UcxTransports.SharedMemoryIn(NativeEnvironment.Get(Prefix + "TLS") ?? options.Transports))
                    NativeEnvironment.TrySet($"UCX_{transport}_ERROR_HANDLING", "y");
            }
        }
    }

    /// <summary>UCX reads a setting while it is loaded, and never again.</summary>
    public static bool IsReadAtLoading(string name) =>
        name.StartsWith(Prefix, StringComparison.Ordinal) && ReadAtLoading.Any(n => name.AsSpan(Prefix.Length).StartsWith(n, StringComparison.Ordinal));

    /// <summary>Reads the environment, and sets what the options say of one context. ucp_config_release releases it.</summary>
    /// <exception cref="RmaProviderException">A value is wrong.</exception>
    public static void* ReadConfig(UcxLibrary library, UcxOptions options, ILogger logger)
    {
        void* config;
        sbyte status = library.Exports.ucp_config_read(null, null, &config);
        if (status != UcsStatus.UCS_OK)
            throw UcxErrors.Provider(library, "ucp_config_read", status, " A UCX_ variable of the environment has a value that UCX can't read; it is named on standard error.");
        try
        {
            Set(library, config, "TLS", options.Transports, logger);
            Set(library, config, "NET_DEVICES", options.Devices, logger);
            if (options.KeepaliveInterval != new UcxOptions().KeepaliveInterval)
                Set(library, config, "KEEPALIVE_INTERVAL", TextOf(options.KeepaliveInterval), logger);
            return config;
        }
        catch
        {
            library.Exports.ucp_config_release(config);
            throw;
        }
    }

    private static void Set(UcxLibrary library, void* config, string name, string? value, ILogger logger)
    {
        if (string.IsNullOrEmpty(value))
            return;
        string variable = Prefix + name;
        if (NativeEnvironment.Get(variable) is { } kept)
        {
            if (kept != value)
                Log.UcxSettingKept(logger, variable, value);
            return;
        }
        byte* nameText = Utf8StringMarshaller.ConvertToUnmanaged(name);
        byte* valueText = Utf8StringMarshaller.ConvertToUnmanaged(value);
        sbyte status = library.Exports.ucp_config_modify(config, nameText, valueText);
        Utf8StringMarshaller.Free(valueText);
        Utf8StringMarshaller.Free(nameText);
        if (status != UcsStatus.UCS_OK)
            throw UcxErrors.Provider(library, $"ucp_config_modify of {variable} to '{value}'", status);
    }

    private const string Prefix = "UCX_";

    private static string TextOf(TimeSpan interval) =>
        interval == Timeout.InfiniteTimeSpan ? "inf" : interval.TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture) + "ms";
}
