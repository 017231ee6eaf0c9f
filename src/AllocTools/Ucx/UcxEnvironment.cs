using System.Globalization;
using System.Runtime.InteropServices.Marshalling;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Ucx.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Ucx;

/// <summary>
/// Applies UCX's own settings: those of the process, in its environment, and those of a context. Variables that the
/// operator has set are kept.
/// </summary>
internal static unsafe class UcxEnvironment
{
    /// <summary>
    /// The prefixes of settings that UCX reads once, while it is loaded (<c>ucs/config/global_opts.h</c>,
    /// <c>ucm/api/ucm.h</c>).
    /// </summary>
    private static readonly string[] ReadAtLoading =
    [
        "ASYNC_", "BUILTIN_MEMCPY_", "DEBUG_SIGNO", "ERROR_", "GDB_COMMAND", "HANDLE_ERRORS", "LOG_", "MEMTRACK_", "MEMTYPE_CACHE", "MEM_", "MODULE", "PROFILE_",
        "RCACHE_", "STATS_", "TOPO_", "VFS_", "WARN_UNUSED_",
    ];

    private static readonly Lock Gate = new();

    // The variables that this process has set, protected by the gate: settings from options, and those that let shared
    // memory detect lost peers.
    private static readonly SortedDictionary<string, string> Given = new(StringComparer.Ordinal);
    private static readonly HashSet<string> OwnErrorHandling = new(StringComparer.Ordinal);

    /// <summary>Sets <see cref="UcxOptions.Settings"/>, and the other variables that the options need, for all later contexts.</summary>
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
                else if (NativeEnvironment.TrySet(name, value))
                {
                    Given[name] = value;
                }
            }
            // By default UCX waits for a TCP connection at the place where it is made: a host that does not answer
            // would stop the endpoint, and so all its other peers, for minutes.
            NativeEnvironment.TrySet(Prefix + "TCP_CONN_NB", "y");
            // By default UCX does not use shared memory for connections that must detect lost peers; if it is requested by name, it should be used.
            if (options.ErrorHandling == UcxErrorHandling.Peer)
            {
                foreach (string transport in UcxTransports.SharedMemoryIn(TransportsInForce(options)))
                {
                    if (NativeEnvironment.TrySet(ErrorHandlingOf(transport), "y"))
                        OwnErrorHandling.Add(transport);
                }
            }
        }
    }

    /// <summary>Returns the effective list of transports; null or empty for all.</summary>
    public static string? TransportsInForce(UcxOptions options) => NativeEnvironment.Get(Prefix + Transports) ?? options.Transports;

    /// <summary>Returns the effective list of devices; null or empty for all.</summary>
    public static string? DevicesInForce(UcxOptions options) => NativeEnvironment.Get(Prefix + Devices) ?? options.Devices;

    /// <summary>Returns a sentence with the allowed transports and devices, and their source: the options or the environment.</summary>
    public static string Describe(UcxOptions options) => $"{DescribeTransports(options)}, and {DescribeDevices(options)}.";

    /// <inheritdoc cref="Describe"/>
    public static string DescribeDevices(UcxOptions options) => DescribeOne(Devices, nameof(UcxOptions.Devices), options.Devices);

    private static string DescribeTransports(UcxOptions options) => DescribeOne(Transports, nameof(UcxOptions.Transports), options.Transports);

    /// <summary>Returns a sentence with the settings from options, any of which UCX may have refused; empty if there are none.</summary>
    public static string DescribeSettings()
    {
        lock (Gate)
        {
            return Given.Count == 0
                ? ""
                : $" UCX may refuse the value of one of the Settings that this process was given: {string.Join(", ", Given.Select(static s => $"{s.Key}={s.Value}"))}.";
        }
    }

    /// <summary>Whether UCX reads a setting only while it is loaded.</summary>
    public static bool IsReadAtLoading(string name) =>
        name.StartsWith(Prefix, StringComparison.Ordinal) && ReadAtLoading.Any(n => name.AsSpan(Prefix.Length).StartsWith(n, StringComparison.Ordinal));

    /// <summary>Reads the environment, and applies the options of one context. ucp_config_release releases the result.</summary>
    /// <exception cref="RmaProviderException">A value is not valid.</exception>
    public static void* ReadConfig(UcxLibrary library, UcxOptions options, ILogger logger)
    {
        void* config;
        sbyte status = library.Exports.ucp_config_read(null, null, &config);
        if (status != UcsStatus.UCS_OK)
            throw UcxErrors.Provider(library, "ucp_config_read", status, " A UCX_ variable of the environment has a value that UCX can't read; it is named on standard error.");
        try
        {
            Set(library, config, Transports, options.Transports, logger);
            LeaveOutSharedMemory(library, config, options);
            Set(library, config, Devices, options.Devices, logger);
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
        Modify(library, config, name, value);
    }

    /// <summary>
    /// Excludes shared memory for a context that must detect lost peers and does not request it by name. This is UCX's
    /// default, but another context may change it for the process.
    /// </summary>
    private static void LeaveOutSharedMemory(UcxLibrary library, void* config, UcxOptions options)
    {
        string list = TransportsInForce(options) ?? "";
        bool leavesOut = list.StartsWith('^');
        if (options.ErrorHandling != UcxErrorHandling.Peer || !(leavesOut || list is "" or "all"))
            return;
        string[] others;
        lock (Gate)
            others = [.. UcxTransports.SharedMemory.Where(static t => OwnErrorHandling.Contains(t) || NativeEnvironment.Get(ErrorHandlingOf(t)) is null).Select(static t => t.ToLowerInvariant())];
        if (others.Length > 0)
            Modify(library, config, Transports, $"{(leavesOut ? list + "," : "^")}{string.Join(',', others)}");
    }

    /// <summary>Changes a setting of a context, whatever the environment has.</summary>
    public static void Modify(UcxLibrary library, void* config, string name, string value)
    {
        byte* nameText = Utf8StringMarshaller.ConvertToUnmanaged(name);
        byte* valueText = Utf8StringMarshaller.ConvertToUnmanaged(value);
        sbyte status = library.Exports.ucp_config_modify(config, nameText, valueText);
        Utf8StringMarshaller.Free(valueText);
        Utf8StringMarshaller.Free(nameText);
        if (status != UcsStatus.UCS_OK)
            throw UcxErrors.Provider(library, $"ucp_config_modify of {Prefix}{name} to '{value}'", status);
    }

    private static string ErrorHandlingOf(string transport) => $"{Prefix}{transport}_ERROR_HANDLING";

    private static string DescribeOne(string name, string option, string? value) => NativeEnvironment.Get(Prefix + name) is { } set
        ? $"{Prefix}{name} of the environment is '{set}'"
        : string.IsNullOrEmpty(value) ? $"{option} is not set (all)" : $"{option} is '{value}'";

    private const string Prefix = "UCX_";
    private const string Transports = "TLS";
    private const string Devices = "NET_DEVICES";

    private static string TextOf(TimeSpan interval) =>
        interval == Timeout.InfiniteTimeSpan ? "inf" : interval.TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture) + "ms";
}
