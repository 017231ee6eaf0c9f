using System.Collections;
using System.Reflection;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Hosting.Tests.Support;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.Ucx;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests that every option can be set from the configuration, whatever its kind.</summary>
public sealed class BindingTests
{
    private const string PoolJson = """
        {
          "AllocTools": {
            "SizeClasses": [ { "BlockSize": 256, "InitialBlocks": 16 }, { "BlockSize": 8192, "InitialBlocks": 2 } ],
            "MaxRegisteredBytes": 123456789,
            "MaxSlabBytes": 131072,
            "MaxIdleDirectBytes": 4242,
            "RegistrationCache": { "MaxBytes": "5 MiB", "MaxEntries": 77 },
            "SizeClassRange": { "From": 512, "To": 65536, "StepsPerDoubling": 2 },
            "HugePages": "explicit",
            "NumaNode": 0,
            "Access": "RemoteRead, RemoteWrite",
            "Isolation": "PerExposure",
            "RentTimeout": "00:00:01.500",
            "DrainTimeout": "0:02:00",
            "IdleRetention": "00:03:00",
            "TrimInterval": "00:00:04",
            "LeakDetection": "sampled",
            "WarmUp": "Background",
            "ClearOnReturn": true,
            "PoisonOnReturn": "true",
            "CheckPointers": true,
            "Provider": {
              "Locking": "Required",
              "Endpoint": {
                "Progress": "caller",
                "Continuations": "inline",
                "OperationTimeout": "2 min",
                "MaxOutstanding": 55,
                "MaxMessageLength": "5 MiB",
                "MaxNotifications": 66,
                "SpinTime": "7 us",
                "LongestPause": "30 ms",
                "SlowPeerTime": "30 s",
                "Retry": { "MaxRetries": 30, "Delay": "30 ms", "MaxDelay": "30 min" }
              }
            }
          }
        }
        """;

    private const string FabricJson = """
        {
          "AllocTools": {
            "Provider": {
              "Provider": "tcp;ofi_rxm",
              "Domain": "lo",
              "Node": "127.0.0.1",
              "AdvertisedNode": "gateway",
              "Service": "4711",
              "Access": "Local, RemoteRead",
              "MrCache": true,
              "VirtualAddressing": false,
              "LibraryPath": "/opt/libfabric.so",
              "Settings": { "FI_UNIVERSE_SIZE": "16", "FI_LOG_LEVEL": "warn" },
              "Endpoint": {
                "Progress": "Caller",
                "Continuations": "Inline",
                "CompletionLevel": "transmit",
                "OperationTimeout": "-00:00:00.001",
                "MaxOutstanding": 33,
                "MaxMessageLength": "3 MiB",
                "MaxUnreceivedMessages": 44,
                "MaxNotifications": 55,
                "SpinTime": "00:00:00.0001",
                "LongestPause": "20 ms",
                "SlowPeerTime": "20 s",
                "Retry": { "MaxRetries": 20, "Delay": "20 ms", "MaxDelay": "20 min" }
              }
            }
          }
        }
        """;

    private const string UcxJson = """
        {
          "AllocTools": {
            "Provider": {
              "Transports": "tcp,shm",
              "Devices": "lo",
              "ErrorHandling": "none",
              "KeepaliveInterval": "3 s",
              "LibraryPath": "/opt/libucp.so",
              "Settings": { "UCX_TCP_TX_SEG_SIZE": "16k" },
              "Endpoint": {
                "Progress": "Caller",
                "Continuations": "Inline",
                "OperationTimeout": "2 min",
                "MaxOutstanding": 22,
                "MaxMessageLength": "2 MiB",
                "MaxNotifications": 77,
                "SpinTime": "9 us",
                "LongestPause": "40 ms",
                "SlowPeerTime": "40 s",
                "Retry": { "MaxRetries": 40, "Delay": "40 ms", "MaxDelay": "40 min" }
              }
            }
          }
        }
        """;

    private const string MpiJson = """
        {
          "AllocTools": {
            "Provider": {
              "Implementation": "openmpi",
              "LibraryPath": "/opt/libmpi.so",
              "StartTimeout": "5 min",
              "EndTimeout": "7 s",
              "Settings": { "OMPI_MCA_osc_rdma_max_attach": "256", "UCX_TLS": "tcp" },
              "Endpoint": {
                "Progress": "Caller",
                "Continuations": "Inline",
                "OperationTimeout": "3 min",
                "MaxOutstanding": 22,
                "MaxMessageLength": "2 MiB",
                "MaxNotifications": 11,
                "SpinTime": "9 us",
                "LongestPause": "40 ms",
                "SlowPeerTime": "40 s",
                "Retry": { "MaxRetries": 40, "Delay": "40 ms", "MaxDelay": "40 min" }
              }
            }
          }
        }
        """;

    [Fact]
    public void Every_option_of_MPI_binds()
    {
        MpiOptions options = Bind<MpiProvider, MpiOptions>(MpiJson);

        AssertEveryPropertyIsSet(options, new MpiOptions());
        Assert.Equal(MpiImplementation.OpenMpi, options.Implementation);
        Assert.Equal("/opt/libmpi.so", options.LibraryPath);
        Assert.Equal(TimeSpan.FromMinutes(5), options.StartTimeout);
        Assert.Equal(TimeSpan.FromSeconds(7), options.EndTimeout);
        Assert.Equal("256", options.Settings["OMPI_MCA_osc_rdma_max_attach"]);
        Assert.Equal("tcp", options.Settings["UCX_TLS"]);
        Assert.Equal(2, options.Settings.Count);
        AssertEveryPropertyIsSet(options.Endpoint, new RmaEndpointOptions());
        Assert.Equal(22, options.Endpoint.MaxOutstanding);
        Assert.Equal(TimeSpan.FromMilliseconds(40), options.Endpoint.LongestPause);
        Assert.Equal(TimeSpan.FromSeconds(40), options.Endpoint.SlowPeerTime);
        Assert.Equal((40, TimeSpan.FromMilliseconds(40), TimeSpan.FromMinutes(40)), (options.Endpoint.Retry.MaxRetries, options.Endpoint.Retry.Delay, options.Endpoint.Retry.MaxDelay));
    }

    [Fact]
    public void Every_option_of_a_pool_binds()
    {
        RmaMemoryPoolOptions options = Bind<HostProvider, RmaMemoryPoolOptions>(PoolJson);

        AssertEveryPropertyIsSet(options, new RmaMemoryPoolOptions());
        Assert.Equal([(256, 16), (8192, 2)], options.SizeClasses.Select(c => (c.BlockSize, c.InitialBlocks)));
        Assert.Equal(123456789, options.MaxRegisteredBytes);
        Assert.Equal(131072, options.MaxSlabBytes);
        Assert.Equal(4242, options.MaxIdleDirectBytes);
        Assert.Equal(TimeSpan.FromMinutes(3), options.IdleRetention);
        Assert.Equal(TimeSpan.FromSeconds(4), options.TrimInterval);
        Assert.Equal((512, 65536, 2), (options.SizeClassRange!.From, options.SizeClassRange.To, options.SizeClassRange.StepsPerDoubling));
        Assert.Equal((5 << 20, 77), (options.RegistrationCache.MaxBytes, options.RegistrationCache.MaxEntries));
        Assert.Equal(RmaHugePages.Explicit, options.HugePages);
        Assert.Equal(RmaWarmUp.Background, options.WarmUp);
        Assert.Equal(0, options.NumaNode);
        Assert.Equal(RmaAccess.RemoteRead | RmaAccess.RemoteWrite, options.Access);
        Assert.Equal(RmaIsolation.PerExposure, options.Isolation);
        Assert.Equal(TimeSpan.FromMilliseconds(1500), options.RentTimeout);
        Assert.Equal(TimeSpan.FromMinutes(2), options.DrainTimeout);
        Assert.True(options.ClearOnReturn);
        Assert.True(options.PoisonOnReturn);
        Assert.True(options.CheckPointers);
    }

    [Fact]
    public void Every_option_of_the_host_provider_binds()
    {
        HostProviderOptions options = Bind<HostProvider, HostProviderOptions>(PoolJson);

        AssertEveryPropertyIsSet(options, new HostProviderOptions());
        Assert.Equal(PageLocking.Required, options.Locking);
        AssertEveryPropertyIsSet(options.Endpoint, new RmaEndpointOptions());
        Assert.Equal(RmaProgress.Caller, options.Endpoint.Progress);
        Assert.Equal(RmaContinuations.Inline, options.Endpoint.Continuations);
        Assert.Equal(TimeSpan.FromMinutes(2), options.Endpoint.OperationTimeout);
        Assert.Equal(55, options.Endpoint.MaxOutstanding);
        Assert.Equal(5 << 20, options.Endpoint.MaxMessageLength);
        Assert.Equal(66, options.Endpoint.MaxNotifications);
        Assert.Equal(TimeSpan.FromMicroseconds(7), options.Endpoint.SpinTime);
        Assert.Equal(TimeSpan.FromMilliseconds(30), options.Endpoint.LongestPause);
        Assert.Equal(TimeSpan.FromSeconds(30), options.Endpoint.SlowPeerTime);
        Assert.Equal((30, TimeSpan.FromMilliseconds(30), TimeSpan.FromMinutes(30)), (options.Endpoint.Retry.MaxRetries, options.Endpoint.Retry.Delay, options.Endpoint.Retry.MaxDelay));
    }

    [Fact]
    public void Every_option_of_libfabric_binds()
    {
        LibfabricOptions options = Bind<LibfabricProvider, LibfabricOptions>(FabricJson);

        AssertEveryPropertyIsSet(options, new LibfabricOptions());
        Assert.Equal("tcp;ofi_rxm", options.Provider);
        Assert.Equal("lo", options.Domain);
        Assert.Equal("127.0.0.1", options.Node);
        Assert.Equal("gateway", options.AdvertisedNode);
        Assert.Equal("4711", options.Service);
        Assert.Equal(RmaAccess.Local | RmaAccess.RemoteRead, options.Access);
        Assert.True(options.MrCache);
        Assert.False(options.VirtualAddressing);
        Assert.Equal("/opt/libfabric.so", options.LibraryPath);
        Assert.Equal("16", options.Settings["FI_UNIVERSE_SIZE"]);
        Assert.Equal("warn", options.Settings["FI_LOG_LEVEL"]);
        Assert.Equal(2, options.Settings.Count);
    }

    [Fact]
    public void Every_option_of_libfabrics_endpoint_binds()
    {
        LibfabricEndpointOptions options = Bind<LibfabricProvider, LibfabricOptions>(FabricJson).Endpoint;

        AssertEveryPropertyIsSet(options, new LibfabricEndpointOptions());
        Assert.Equal(RmaProgress.Caller, options.Progress);
        Assert.Equal(RmaContinuations.Inline, options.Continuations);
        Assert.Equal(LibfabricCompletionLevel.Transmit, options.CompletionLevel);
        Assert.Equal(Timeout.InfiniteTimeSpan, options.OperationTimeout);
        Assert.Equal(33, options.MaxOutstanding);
        Assert.Equal(3 << 20, options.MaxMessageLength);
        Assert.Equal(44, options.MaxUnreceivedMessages);
        Assert.Equal(55, options.MaxNotifications);
        Assert.Equal(TimeSpan.FromMicroseconds(100), options.SpinTime);
        Assert.Equal(TimeSpan.FromMilliseconds(20), options.LongestPause);
        Assert.Equal(TimeSpan.FromSeconds(20), options.SlowPeerTime);
        Assert.Equal((20, TimeSpan.FromMilliseconds(20), TimeSpan.FromMinutes(20)), (options.Retry.MaxRetries, options.Retry.Delay, options.Retry.MaxDelay));
    }

    [Fact]
    public void Every_option_of_ucx_binds()
    {
        UcxOptions options = Bind<UcxProvider, UcxOptions>(UcxJson);

        AssertEveryPropertyIsSet(options, new UcxOptions());
        Assert.Equal(("tcp,shm", "lo"), (options.Transports, options.Devices));
        Assert.Equal(UcxErrorHandling.None, options.ErrorHandling);
        Assert.Equal(TimeSpan.FromSeconds(3), options.KeepaliveInterval);
        Assert.Equal("/opt/libucp.so", options.LibraryPath);
        Assert.Equal("16k", Assert.Single(options.Settings).Value);
        AssertEveryPropertyIsSet(options.Endpoint, new RmaEndpointOptions());
        Assert.Equal(22, options.Endpoint.MaxOutstanding);
    }

    [Fact]
    public void Options_of_one_pool_are_not_anothers()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(FabricJson);
        builder.Services.AddRmaMemoryPool<LibfabricProvider>("x", builder.Configuration.GetSection("AllocTools"));
        builder.Services.AddRmaMemoryPool<LibfabricProvider>("y");
        using IHost host = builder.Build();

        var options = host.Services.GetRequiredService<IOptionsMonitor<LibfabricOptions>>();
        Assert.Equal(33, options.Get("x").Endpoint.MaxOutstanding);
        Assert.Equal(new LibfabricEndpointOptions().MaxOutstanding, options.Get("y").Endpoint.MaxOutstanding);
        Assert.Empty(options.Get("y").Settings);
    }

    [Fact]
    public void A_third_partys_options_bind_from_the_subsection_or_from_any_section()
    {
        const string Json = """{ "AllocTools": { "Provider": { "Device": "a0" } }, "Elsewhere": { "Device": "b1" } }""";
        HostApplicationBuilder builder = TestHost.CreateBuilder(Json);
        IConfigurationSection section = builder.Configuration.GetSection("AllocTools");
        builder.Services.AddRmaMemoryPool<OptionsProvider>("sub", section).ConfigureProvider<OptionsProviderOptions>();
        builder.Services.AddRmaMemoryPool<OptionsProvider>("any").ConfigureProvider<OptionsProviderOptions>(builder.Configuration.GetSection("Elsewhere"));
        builder.Services.AddRmaMemoryPool<OptionsProvider>("code").ConfigureProvider<OptionsProviderOptions>(o => o.Device = "c2");
        builder.Services.AddRmaMemoryPool<OptionsProvider>("none", section);
        using IHost host = builder.Build();

        Assert.Equal("a0", DeviceOf("sub"));
        Assert.Equal("b1", DeviceOf("any"));
        Assert.Equal("c2", DeviceOf("code"));
        Assert.Equal("none", DeviceOf("none"));

        string DeviceOf(string name) => host.Services.GetRequiredKeyedService<IRmaMemoryPool>(name).Context.Traits.ProviderName;
    }

    [Fact]
    public void Without_a_section_there_is_no_subsection_to_bind()
    {
        IRmaMemoryPoolBuilder builder = new ServiceCollection().AddRmaMemoryPool<OptionsProvider>("x");

        var error = Assert.Throws<InvalidOperationException>(() => builder.ConfigureProvider<OptionsProviderOptions>());
        Assert.Contains("'x'", error.Message, StringComparison.Ordinal);
        Assert.Contains("'Provider'", error.Message, StringComparison.Ordinal);
    }

    private static TOptions Bind<TProvider, TOptions>(string json)
        where TProvider : class, Regions.IRmaProvider
        where TOptions : class, new()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(json);
        builder.Services.AddRmaMemoryPool<TProvider>("x", builder.Configuration.GetSection("AllocTools"));
        // Remove the validation: not all of the bound values are valid together.
        for (int i = builder.Services.Count - 1; i >= 0; i--)
        {
            if (builder.Services[i].ServiceType == typeof(IValidateOptions<TOptions>))
                builder.Services.RemoveAt(i);
        }
        using IHost host = builder.Build();
        return host.Services.GetRequiredService<IOptionsMonitor<TOptions>>().Get("x");
    }

    /// <summary>Fails for a new option that the JSON above lacks, or that the binder can't set.</summary>
    private static void AssertEveryPropertyIsSet(object bound, object defaults)
    {
        foreach (PropertyInfo property in bound.GetType().GetProperties())
        {
            object? value = property.GetValue(bound);
            if (value is ICollection collection)
                Assert.True(collection.Count > 0, property.Name);
            else
                Assert.False(Equals(value, property.GetValue(defaults)), property.Name);
        }
    }
}
