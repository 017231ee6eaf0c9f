using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Hosting.Tests;

public sealed class StartTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_pool_is_warm_before_a_service_starts_that_was_added_before_it()
    {
        RmaPoolStatistics? seen = null;
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddHostedService(sp => new CallbackService(
            start: () => seen = sp.GetRequiredService<IRmaMemoryPool>().GetStatistics()));
        builder.Services.AddRmaMemoryPool<HostProvider>(o => o.SizeClasses.Add(new() { BlockSize = 4096, InitialBlocks = 8 }));
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        Assert.NotNull(seen);
        Assert.Equal(8, seen.SizeClasses[0].IdleBuffers);
        Assert.Equal(8 * 4096, seen.RegisteredBytes);
    }

    [Fact]
    public async Task A_service_may_ask_for_the_pool_in_its_constructor_and_never_misses()
    {
        RmaBuffer buffer = default;
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddHostedService(sp =>
        {
            IRmaMemoryPool pool = sp.GetRequiredService<IRmaMemoryPool>();
            return new CallbackService(start: () => buffer = pool.Rent(100), stop: () => buffer.Dispose());
        });
        builder.Services.AddRmaMemoryPool<HostProvider>(TestHost.SmallPool);
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        RmaPoolStatistics now = host.Services.GetRequiredService<IRmaMemoryPool>().GetStatistics();
        Assert.Equal((1, 0), (now.Hits, now.Misses));
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public async Task A_provider_that_cant_be_opened_fails_the_start_with_the_pool_and_its_own_error()
    {
        var failure = new RmaProviderException("no such device", 19, "ENODEV");
        var journal = new Journal { OpenFails = failure };
        bool started = false;
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddSingleton(journal);
        builder.Services.AddRmaMemoryPool<RecordingProvider>();
        builder.Services.AddHostedService(_ => new CallbackService(start: () => started = true));
        using IHost host = builder.Build();

        var error = await Assert.ThrowsAsync<RmaPoolStartException>(() => host.StartAsync(Cancelled));
        Assert.Equal("The pool 'default' (options in code) can't start: no such device", error.Message);
        Assert.Equal(("default", 19, "ENODEV"), (error.PoolName, error.ErrorCode, error.ErrorName));
        Assert.Same(failure, error.InnerException);
        Assert.False(started);
        Assert.Equal(["provider disposed"], journal.Events);
        // The container asks again, and gets the same answer.
        Assert.Same(failure, Assert.Throws<RmaPoolStartException>(() => host.Services.GetRequiredService<IRmaMemoryPool>()).InnerException);
    }

    [Fact]
    public async Task A_missing_libfabric_fails_the_start_and_is_named()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "AllocTools": { "Provider": { "LibraryPath": "/nowhere/libfabric.so.1" } } }""");
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools"));
        using IHost host = builder.Build();

        var error = await Assert.ThrowsAsync<RmaPoolStartException>(() => host.StartAsync(Cancelled));
        Assert.StartsWith("The pool 'default' (section 'AllocTools') can't start: ", error.Message, StringComparison.Ordinal);
        Assert.Contains("/nowhere/libfabric.so.1", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_that_asks_in_its_constructor_gets_the_error_of_the_pool_or_of_its_endpoint()
    {
        var failure = new RmaProviderException("no such device", 19, "ENODEV");
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "Fast": { } }""");
        builder.Services.AddSingleton(new Journal { OpenFails = failure });
        builder.Services.AddRmaMemoryPool<RecordingProvider>("fast", builder.Configuration.GetSection("Fast"));
        builder.Services.AddHostedService(sp =>
        {
            sp.GetRequiredKeyedService<IRmaMemoryPool>("fast");
            return new CallbackService();
        });
        using IHost host = builder.Build();
        var error = await Assert.ThrowsAsync<RmaPoolStartException>(() => host.StartAsync(Cancelled));
        Assert.Equal("The pool 'fast' (section 'Fast') can't start: no such device", error.Message);

        var services = new ServiceCollection();
        services.AddRmaMemoryPool<LibfabricProvider>(o => o.Access = RmaAccess.RemoteWrite)
            .ConfigureProvider<LibfabricOptions>(o => (o.Provider, o.Node) = ("tcp;ofi_rxm", "192.0.2.1"));
        await using ServiceProvider provider = services.BuildServiceProvider();
        var closed = Assert.Throws<RmaPoolStartException>(() => provider.GetRequiredService<IRmaEndpoint>());
        Assert.StartsWith("The pool 'default' (options in code) can't open its endpoint: fi_endpoint failed with FI_EADDRNOTAVAIL", closed.Message, StringComparison.Ordinal);
        Assert.EndsWith("Node is '192.0.2.1'. It must be an address of this machine.", closed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_that_asks_in_its_constructor_gets_what_is_wrong_with_all_pools()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "A": { "MaxSlabBytes": 1 }, "B": { "NumaNod": 1, "Provider": { "Locking": "Perhaps" } } }""");
        builder.Services.AddRmaMemoryPool<HostProvider>("a", builder.Configuration.GetSection("A"));
        builder.Services.AddRmaMemoryPool<HostProvider>("b", builder.Configuration.GetSection("B"));
        builder.Services.AddHostedService(sp =>
        {
            sp.GetRequiredKeyedService<IRmaMemoryPool>("a");
            return new CallbackService();
        });
        using IHost host = builder.Build();
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
        Assert.Equal(
            [
                "A:MaxSlabBytes is 1; it must be between 65,536 and 17,179,869,184 bytes (64 KiB and 16 GiB).",
                "Unknown option B:NumaNod. Did you mean NumaNode?",
                "B:Provider:Locking is 'Perhaps'; it must be one of BestEffort, Required, None.",
            ],
            error.Failures);
    }

    [Fact]
    public async Task A_start_that_fails_is_one_message()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "A": { "MaxSlabBytes": 1, "Provider": { "Locking": "Perhaps" } } }""");
        builder.Services.AddRmaMemoryPool<HostProvider>("a", builder.Configuration.GetSection("A"));
        using IHost invalid = builder.Build();
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => invalid.StartAsync(Cancelled));
        Assert.Equal(
            [
                "AllocTools.Hosting.RmaOptionsValidationException: 2 options are invalid:",
                "  A:MaxSlabBytes is 1; it must be between 65,536 and 17,179,869,184 bytes (64 KiB and 16 GiB).",
                "  A:Provider:Locking is 'Perhaps'; it must be one of BestEffort, Required, None.",
            ],
            error.ToString().Split(Environment.NewLine));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task The_stack_of_a_failed_start_is_shown_where_the_cause_is_unknown_and_logged_at_debug_always(bool isKnown)
    {
        using var log = new LogRecorder();
        HostApplicationBuilder builder = TestHost.CreateBuilder(log: log);
        builder.Services.AddSingleton(new Journal { OpenFails = isKnown ? new RmaProviderException("no such device") : new FormatException("a bug") });
        builder.Services.AddRmaMemoryPool<RecordingProvider>("a");
        using IHost host = builder.Build();
        var error = await Assert.ThrowsAsync<RmaPoolStartException>(() => host.StartAsync(Cancelled));
        string message = $"AllocTools.Hosting.RmaPoolStartException: The pool 'a' (options in code) can't start: {error.InnerException!.Message}";
        Assert.Equal(isKnown, message == error.ToString());
        Assert.StartsWith(message, error.ToString(), StringComparison.Ordinal);
        Assert.Equal(!isKnown, error.ToString().Contains(nameof(RecordingProvider), StringComparison.Ordinal));
        Assert.Equal(["The pool 'a' can't start; see the exception."], log.MessagesOf(LogRecorder.StartFailed));
    }

    [Fact]
    public async Task A_section_that_is_not_there_is_a_warning()
    {
        using var log = new LogRecorder();
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "AllocTools": { "MaxRegisteredBytes": "2 MiB" } }""", log);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTool"));
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        Assert.Equal(
            "The section 'AllocTool' of pool 'default' is empty or missing; the pool uses the default options, or those set in code.",
            await log.Logged(LogRecorder.SectionMissing));
    }

    [Fact]
    public async Task A_section_that_is_required_and_not_there_fails_the_start()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "AllocTools": { "MaxRegisteredBytes": "2 MiB" } }""");
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools")).RequireSection();
        builder.Services.AddRmaMemoryPool<HostProvider>("other", builder.Configuration.GetSection("AllocTool")).RequireSection();
        using IHost host = builder.Build();
        OptionsValidationException error = await Assert.ThrowsAnyAsync<OptionsValidationException>(() => host.StartAsync(Cancelled));
        Assert.Equal(
            "The section 'AllocTool' of pool 'other' is required, but is empty or missing. Check that the file with it is deployed, and the spelling of the path.",
            Assert.Single(error.Failures));
        Assert.Throws<InvalidOperationException>(() => builder.Services.AddRmaMemoryPool<HostProvider>("third").RequireSection());
    }

    [Fact]
    public async Task A_pools_section_may_stand_below_another_pools()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "AllocTools": { "MaxRegisteredBytes": "2 MiB", "Gradients": { "MaxRegisteredBytes": "4 MiB" } } }""");
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        builder.Services.AddRmaMemoryPool<HostProvider>("gradients", builder.Configuration.GetSection("AllocTools:Gradients"));
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        Assert.Equal(4 << 20, host.Services.GetRequiredKeyedService<IRmaMemoryPool>("gradients").GetStatistics().LimitBytes);
    }

    [Fact]
    public async Task A_warm_up_that_fails_fails_the_start_and_leaves_nothing_open()
    {
        var failure = new RmaRegistrationException("too much", "fi_mr_regattr", 16384, "recording", 12, "ENOMEM");
        var journal = new Journal { RegisterFails = failure };
        bool started = false;
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddSingleton(journal);
        builder.Services.AddRmaMemoryPool<RecordingProvider>(TestHost.SmallPool);
        builder.Services.AddHostedService(_ => new CallbackService(start: () => started = true));
        using (IHost host = builder.Build())
            Assert.Same(failure, (await Assert.ThrowsAsync<RmaPoolStartException>(() => host.StartAsync(Cancelled))).InnerException);

        Assert.False(started);
        Assert.Equal(["provider opened", "context closed", "provider disposed"], journal.Events);
    }

    // SIGTERM does this while a service starts.
    [Fact]
    public async Task A_stop_during_the_start_is_no_failure()
    {
        using var held = new HeldRegistrations();
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddSingleton(held.Journal);
        builder.Services.AddRmaMemoryPool<RecordingProvider>(o => o.SizeClasses.Add(new() { BlockSize = 65_536, InitialBlocks = 1000 }));
        IHost host = builder.Build();
        Task running = Task.Run(() => host.RunAsync(Cancelled), Cancelled);
        Assert.True(await held.HasBegunAsync(Cancelled));
        host.Services.GetRequiredService<IHostApplicationLifetime>().StopApplication();
        held.LetGo();
        await running.WaitAsync(TestHost.Patience, Cancelled);
        Assert.Equal(held.Journal.Count("registered"), held.Journal.Count("deregistered"));
        Assert.Equal(1, held.Journal.Count("context closed"));
    }

    [Fact]
    public async Task The_endpoint_is_opened_by_who_asks_first_and_is_one()
    {
        var journal = new Journal();
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddSingleton(journal);
        builder.Services.AddRmaMemoryPool<RecordingProvider>(TestHost.SmallPool);
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        Assert.Equal(["provider opened", "registered"], journal.Events);
        var endpoint = host.Services.GetRequiredService<IRmaEndpoint>();
        Assert.Same(endpoint, host.Services.GetRequiredService<IRmaEndpoint>());
        Assert.Same(host.Services.GetRequiredService<IRmaMemoryPool>().Context, endpoint.Context);
        Assert.Equal(1, journal.Count("endpoint opened"));
    }
}
