using System.Buffers.Binary;
using System.Net.Sockets;
using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.Testing;
using AllocTools.Ucx;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests that UCX's provider does what the configuration says, on the real library.</summary>
[Collection(nameof(UcxOptionEffectTests))]
[CollectionDefinition(nameof(UcxOptionEffectTests), DisableParallelization = true)] // the test inspects the sockets of the process
public sealed class UcxOptionEffectTests
{
    private const int Opened = 60, SettingKept = 61, SettingTooLate = 62, DevicesMissing = 63;
    private const string Tcp = "\"Transports\": \"tcp\", \"Devices\": \"lo\"";

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [EffectOf("Provider:Transports", "Provider:Devices")]
    [InlineData(Tcp, "on tcp/lo.")]
    [InlineData("\"Transports\": \"self,tcp\", \"Devices\": \"lo\"", "on self/memory0, tcp/lo.")]
    [InlineData("\"Transports\": \"sysv\", \"ErrorHandling\": \"None\"", "on sysv/memory.")]
    public async Task What_it_may_use(string options, string expected)
    {
        var log = new LogRecorder();
        using IHost host = await StartAsync(options, log);
        Assert.EndsWith(expected, await log.Logged(Opened), StringComparison.Ordinal);
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public async Task What_is_not_there_fails_the_start_and_is_named()
    {
        string error = (await Assert.ThrowsAsync<RmaPoolStartException>(() => StartAsync("\"Transports\": \"tcp\", \"Devices\": \"nosuch0\""))).Message;
        Assert.Contains("Devices is 'nosuch0'", error, StringComparison.Ordinal);
        Assert.Contains("ucx_info -d", error, StringComparison.Ordinal);
    }

    /// <summary>
    /// UCX itself would continue with transports that need no network device, and report that only on standard error.
    /// </summary>
    [Fact]
    public async Task A_device_that_is_not_there_fails_the_start_whatever_else_may_be_used()
    {
        string error = (await Assert.ThrowsAsync<RmaPoolStartException>(() => StartAsync("\"Devices\": \"nosuch0\""))).Message;
        Assert.Contains("none of the network devices that it may use: Devices is 'nosuch0', and UCX can use ", error, StringComparison.Ordinal);
        Assert.Contains("lo", error[error.IndexOf("UCX can use", StringComparison.Ordinal)..], StringComparison.Ordinal);
        // These transports don't use the device.
        using IHost host = await StartAsync("\"Transports\": \"sysv\", \"Devices\": \"nosuch0\", \"ErrorHandling\": \"None\"");
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public async Task A_device_of_several_that_is_not_there_is_logged()
    {
        var log = new LogRecorder();
        using IHost host = await StartAsync("\"Transports\": \"tcp\", \"Devices\": \"lo,nosuch0\"", log);
        Assert.StartsWith(
            "UCX continues without some of its network devices: Devices is 'lo,nosuch0', but nosuch0 can't be used. It can use lo", await log.Logged(DevicesMissing), StringComparison.Ordinal);
        await host.StopAsync(Cancelled);
    }

    /// <summary>
    /// UCX does not use shared memory for connections that must detect a lost peer, unless it is requested by name.
    /// </summary>
    [Theory]
    [EffectOf("Provider:ErrorHandling")]
    [InlineData("sysv", "Peer", "UCX_SYSV_ERROR_HANDLING", "n", true)]
    [InlineData("sysv", "None", "UCX_SYSV_ERROR_HANDLING", "n", false)]
    [InlineData("posix", "Peer", "UCX_ADDRESS_VERSION", "v1", false)]
    public async Task What_becomes_of_peers_that_are_gone(string transport, string handling, string setting, string value, bool isRefused)
    {
        using IHost host = await StartAsync($$"""
            "Transports": "{{transport}}", "ErrorHandling": "{{handling}}", "Settings": { "{{setting}}": "{{value}}" }
            """);
        IRmaEndpoint endpoint = host.Services.GetRequiredService<IRmaEndpoint>();
        Exception? error = Record.Exception(() => endpoint.InsertPeer(endpoint.Address.Span));
        Assert.Equal(isRefused, error is RmaProviderException);
        if (isRefused)
        {
            Assert.Contains("ErrorHandling is None", error!.Message, StringComparison.Ordinal);
            Assert.Contains($"Transports is '{transport}', and Devices is not set (all).", error.Message, StringComparison.Ordinal);
        }
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public async Task Peers_with_another_error_handling_are_refused()
    {
        using IHost host = await StartAsync(Tcp);
        using IHost other = await StartAsync(Tcp + ", \"ErrorHandling\": \"None\"");
        byte[] address = other.Services.GetRequiredService<IRmaEndpoint>().Address.ToArray();
        string error = Assert.Throws<RmaProviderException>(() => host.Services.GetRequiredService<IRmaEndpoint>().InsertPeer(address)).Message;
        Assert.Contains("its ErrorHandling is None, and this endpoint's is Peer", error, StringComparison.Ordinal);
        await host.StopAsync(Cancelled);
        await other.StopAsync(Cancelled);
    }

    /// <summary>
    /// UCX checks connections by sending a few bytes; with the default interval of 20 s there would be none during the
    /// test.
    /// </summary>
    [Fact]
    [EffectOf("Provider:KeepaliveInterval")]
    public async Task Keepalive_interval()
    {
        HashSet<string> others = [.. Sockets().Select(static s => s.Name)];
        using IHost host = await StartAsync(Tcp + ", \"KeepaliveInterval\": \"20 ms\"");
        IRmaEndpoint endpoint = host.Services.GetRequiredService<IRmaEndpoint>();
        using RmaBuffer buffer = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(64);
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        Task<RmaReceiveResult> receiving = endpoint.ReceiveAsync(buffer, cancellationToken: Cancelled).AsTask();
        await endpoint.SendAsync(buffer, self, cancellationToken: Cancelled);
        await receiving;
        long before = BytesSent(others);
        Assert.True(SpinWait.SpinUntil(() => BytesSent(others) >= before + 50, TestTime.Seconds(15)), $"{BytesSent(others) - before} bytes were sent");
        await host.StopAsync(Cancelled);
    }

    [Fact]
    [EffectOf("Provider:LibraryPath", "Provider:Settings")]
    public async Task Which_library_and_what_it_is_told()
    {
        string error = (await Assert.ThrowsAsync<RmaPoolStartException>(() => StartAsync("\"LibraryPath\": \"/no/such/libucp.so\""))).Message;
        Assert.Contains("LibraryPath is '/no/such/libucp.so', which does not exist", error, StringComparison.Ordinal);
        Assert.Contains("apt-get install libucx0", error, StringComparison.Ordinal);
        // The value affects all later readers in the process, so it belongs to a setting that nothing else uses.
        using IHost host = await StartAsync(Tcp + ", \"LibraryPath\": \"libucp.so.0\", \"Settings\": { \"UCX_ADDRESS_VERSION\": \"v1\" }");
        Assert.Equal("v1", Interop.NativeEnvironment.Get("UCX_ADDRESS_VERSION"));
        await host.StopAsync(Cancelled);
    }

    /// <summary>The first pool of the process has loaded UCX, which then no longer reads some settings.</summary>
    [Fact]
    public async Task What_a_setting_comes_too_late_for_is_logged()
    {
        using IHost first = await StartAsync(Tcp);
        Interop.NativeEnvironment.TrySet("UCX_MAX_WORKER_ADDRESS_NAME", "32");
        var log = new LogRecorder();
        using IHost host = await StartAsync(Tcp + """
            , "Settings": { "UCX_PROFILE_LOG_SIZE": "4m", "UCX_MAX_WORKER_ADDRESS_NAME": "16", "UCX_ADDRESS_DEBUG_INFO": "n" }
            """, log);
        Assert.Equal(
            [
                (LogLevel.Debug, SettingKept, "UCX's setting UCX_MAX_WORKER_ADDRESS_NAME is set in the environment already; the option's value 16 is not used."),
                (LogLevel.Warning, SettingTooLate, "UCX's setting UCX_PROFILE_LOG_SIZE=4m comes too late: UCX was already loaded in this process. Set it in the environment."),
            ],
            log.Entries.Where(static e => e.Id is SettingKept or SettingTooLate).OrderBy(static e => e.Id));
        Assert.Null(Interop.NativeEnvironment.Get("UCX_PROFILE_LOG_SIZE"));
        Assert.Equal("n", Interop.NativeEnvironment.Get("UCX_ADDRESS_DEBUG_INFO"));
        await host.StopAsync(Cancelled);
        await first.StopAsync(Cancelled);
    }

    [Fact]
    public async Task What_the_provider_may_not_be_told_fails_the_start()
    {
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => StartAsync(
            """ "KeepaliveInterval": "0 s", "Transport": "tcp", "Settings": { "FI_X": "1", "UCX_TLS": "tcp" } """));
        Assert.Equal(
            [
                "AllocTools:Provider:KeepaliveInterval is 0; it must be between 1 ms and 24 hours, or \"never\".",
                "AllocTools:Provider:Settings has 'FI_X'; the names of UCX's settings must start with UCX_ and must not contain '='.",
                "AllocTools:Provider:Settings has 'UCX_TLS'; it must be set by the option Transports instead.",
                "Unknown option AllocTools:Provider:Transport. Did you mean Transports?",
            ],
            error.Failures.Order(StringComparer.Ordinal));
    }

    /// <summary>Returns the sockets of this process, each with the number of its descriptor.</summary>
    private static IEnumerable<(int Descriptor, string Name)> Sockets() => Directory.GetFiles("/proc/self/fd")
        .Select(static f => (int.Parse(Path.GetFileName(f), System.Globalization.CultureInfo.InvariantCulture), File.ResolveLinkTarget(f, returnFinalTarget: false)?.Name ?? ""))
        .Where(static f => f.Item2.StartsWith("socket:", StringComparison.Ordinal));

    /// <summary>
    /// Returns the bytes that the TCP connections of this process have sent, except for some of them (tcp(7), TCP_INFO:
    /// tcpi_bytes_acked).
    /// </summary>
    private static long BytesSent(HashSet<string> others)
    {
        const int TcpLevel = 6, TcpInfo = 11, BytesAcked = 120, Established = 1;
        long sent = 0;
        Span<byte> info = stackalloc byte[256];
        foreach ((int descriptor, string name) in Sockets())
        {
            if (others.Contains(name))
                continue;
            using var handle = new SafeSocketHandle(descriptor, ownsHandle: false);
            try
            {
                using var socket = new Socket(handle);
                if (socket.ProtocolType == ProtocolType.Tcp && socket.GetRawSocketOption(TcpLevel, TcpInfo, info) >= BytesAcked + sizeof(long) && info[0] == Established)
                    sent += BinaryPrimitives.ReadInt64LittleEndian(info[BytesAcked..]);
            }
            catch (SocketException)
            {
                // The descriptor has been closed meanwhile, or is not a network socket.
            }
        }
        return sent;
    }

    private static async Task<IHost> StartAsync(string options, LogRecorder? log = null)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder($$"""{ "AllocTools": { "Access": "RemoteWrite", "Provider": { {{options}} } } }""", log);
        builder.Services.AddRmaMemoryPool<UcxProvider>(builder.Configuration.GetSection("AllocTools"));
        IHost host = builder.Build();
        try
        {
            await host.StartAsync(Cancelled);
            return host;
        }
        catch
        {
            host.Dispose();
            throw;
        }
    }
}
