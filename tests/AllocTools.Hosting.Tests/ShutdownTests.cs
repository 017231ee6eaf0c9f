using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests how a host gives memory back. The time stands still in these tests unless they advance it.</summary>
public sealed class ShutdownTests : IAsyncLifetime
{
    private readonly FakeTimeProvider _time = new();
    private readonly LogRecorder _log = new();
    private readonly Journal _journal = new();
    private readonly List<IHost> _hosts = [];

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Stop_waits_for_a_buffer_that_is_returned_late()
    {
        IHost host = await StartAsync();
        IRmaMemoryPool pool = PoolOf(host);
        RmaBuffer late = pool.Rent(100);

        Task stop = host.StopAsync(Cancelled);
        await _log.Logged(LogRecorder.Draining);
        Assert.False(stop.IsCompleted);
        Assert.Equal(0, _journal.Count("deregistered"));
        // This would throw if the pool were closed by now.
        late.Return();
        await stop.WaitAsync(TestHost.Patience, Cancelled);

        Assert.False(_log.Has(LogRecorder.ClosedWithBuffersOut));
        Assert.Equal(["provider opened", "registered", "deregistered", "context closed", "provider disposed"], _journal.Events);
    }

    [Fact]
    public async Task A_leaked_buffer_holds_the_stop_for_the_drain_timeout_only()
    {
        IHost host = await StartAsync("""{ "Pool": { "DrainTimeout": "00:07:00" } }""");
        IRmaMemoryPool pool = PoolOf(host);
        RmaBuffer leaked = pool.Rent(100);

        Task stop = host.StopAsync(Cancelled);
        await _log.Logged(LogRecorder.Draining);
        _time.Advance(TimeSpan.FromMinutes(6.9));
        Assert.False(stop.IsCompleted);
        _time.Advance(TimeSpan.FromMinutes(0.1));
        await stop.WaitAsync(TestHost.Patience, Cancelled);

        Assert.True(_log.Has(LogRecorder.ClosedWithBuffersOut));
        Assert.Contains(_log.Entries, e => e.Id == LogRecorder.Draining && e.Message.Contains("up to 7 minutes: 1, ", StringComparison.Ordinal));
        // A rented buffer stays registered, and keeps the context open, until it is returned.
        Assert.Equal(["provider opened", "registered", "provider disposed"], _journal.Events);
        Assert.Throws<ObjectDisposedException>(leaked.Return);
        Assert.Equal(["deregistered", "context closed"], _journal.Events.TakeLast(2));
    }

    [Fact]
    public async Task The_hosts_own_deadline_ends_a_drain()
    {
        IHost host = await StartAsync();
        RmaBuffer leaked = PoolOf(host).Rent(100);

        using var deadline = new CancellationTokenSource();
        Task stop = host.StopAsync(deadline.Token);
        await _log.Logged(LogRecorder.Draining);
        Assert.False(stop.IsCompleted);
        await deadline.CancelAsync();
        await stop.WaitAsync(TestHost.Patience, Cancelled);

        Assert.True(_log.Has(LogRecorder.ClosedWithBuffersOut));
        Assert.Throws<ObjectDisposedException>(leaked.Return);
    }

    [Fact]
    public async Task Other_services_can_rent_and_return_until_they_have_stopped()
    {
        RmaBuffer rented = default;
        IHost host = await StartAsync(configure: (services, pool) => services.AddHostedService(_ => new CallbackService(
            start: () => rented = pool().Rent(1),
            stop: () =>
            {
                pool().Rent(1).Dispose();
                rented.Dispose();
            })));

        await host.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);
        Assert.False(_log.Has(LogRecorder.Draining));
        Assert.Equal(1, _journal.Count("deregistered"));
    }

    [Theory]
    [InlineData(false, "endpoint closed", "deregistered")]
    [InlineData(true, "deregistered", "endpoint closed")]
    public async Task The_endpoint_is_closed_before_the_pool_unless_registrations_are_bound_to_it(bool bound, string first, string second)
    {
        var journal = new Journal { RegistrationsBoundToEndpoint = bound };
        IHost host = await StartAsync(journal: journal);
        host.Services.GetRequiredService<IRmaEndpoint>();
        await host.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);

        Assert.Equal([first, second, "context closed", "provider disposed"], journal.Events.TakeLast(4));
        int count = journal.Events.Count;
        host.Dispose();
        Assert.Equal(count, journal.Events.Count);
    }

    [Fact]
    public async Task What_only_the_endpoint_still_holds_is_not_waited_for()
    {
        IHost host = await StartAsync();
        IRmaMemoryPool pool = PoolOf(host);
        host.Services.GetRequiredService<IRmaEndpoint>();
        RmaHold operation = TimeOut(pool.Rent(1));
        Assert.Equal(1, pool.GetStatistics().QuarantinedBuffers);
        _journal.EndpointCloses = () => operation.Release();

        await host.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);
        Assert.False(_log.Has(LogRecorder.ClosedWithBuffersOut));
        Assert.Equal(["endpoint closed", "deregistered", "context closed", "provider disposed"], _journal.Events.TakeLast(4));
    }

    [Fact]
    public async Task What_only_the_endpoint_still_holds_ends_a_drain_that_waits_for_another_buffer()
    {
        IHost host = await StartAsync();
        IRmaMemoryPool pool = PoolOf(host);
        host.Services.GetRequiredService<IRmaEndpoint>();
        RmaBuffer late = pool.Rent(1);
        RmaHold operation = TimeOut(pool.Rent(1));
        _journal.EndpointCloses = () => operation.Release();

        Task stop = host.StopAsync(Cancelled);
        await _log.Logged(LogRecorder.Draining);
        Assert.Equal(0, _journal.Count("endpoint closed"));
        late.Dispose();
        await stop.WaitAsync(TestHost.Patience, Cancelled);
        Assert.False(_log.Has(LogRecorder.ClosedWithBuffersOut));
        Assert.Equal(["endpoint closed", "deregistered", "context closed", "provider disposed"], _journal.Events.TakeLast(4));
    }

    [Fact]
    public async Task An_endpoint_that_fails_to_close_is_logged_and_the_rest_is_closed()
    {
        var journal = new Journal { EndpointCloseFails = new InvalidOperationException("busy") };
        IHost host = await StartAsync(journal: journal);
        host.Services.GetRequiredService<IRmaEndpoint>();
        await host.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);

        Assert.Contains(_log.Entries, e => e.Id == LogRecorder.EndpointCloseFailed && e.Level == LogLevel.Error);
        Assert.Equal(["endpoint closed", "deregistered", "context closed", "provider disposed"], journal.Events.TakeLast(4));
    }

    [Fact]
    public async Task While_the_pool_drains_no_endpoint_can_be_opened()
    {
        IHost host = await StartAsync();
        RmaBuffer late = PoolOf(host).Rent(1);
        Task stop = host.StopAsync(Cancelled);
        await _log.Logged(LogRecorder.Draining);

        var error = Assert.Throws<ObjectDisposedException>(() => host.Services.GetRequiredService<IRmaEndpoint>());
        Assert.Contains("'default'", error.Message, StringComparison.Ordinal);
        late.Dispose();
        await stop.WaitAsync(TestHost.Patience, Cancelled);
        Assert.Equal(0, _journal.Count("endpoint opened"));
    }

    [Fact]
    public async Task Once_the_pool_is_closed_no_endpoint_can_be_opened()
    {
        IHost host = await StartAsync();
        await host.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);

        Assert.Throws<ObjectDisposedException>(() => host.Services.GetRequiredService<IRmaEndpoint>());
        Assert.Equal(0, _journal.Count("endpoint opened"));
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task The_container_alone_closes_everything_in_order(bool async, bool endpointFirst)
    {
        var services = new ServiceCollection();
        services.AddSingleton(_journal);
        services.AddRmaMemoryPool<RecordingProvider>("x", TestHost.SmallPool);
        ServiceProvider provider = services.BuildServiceProvider();
        if (endpointFirst)
            provider.GetRequiredKeyedService<IRmaEndpoint>("x");
        RmaMemoryPool<RecordingProvider> pool = provider.GetRequiredKeyedService<RmaMemoryPool<RecordingProvider>>("x");
        provider.GetRequiredKeyedService<IRmaEndpoint>("x");
        Assert.Same(pool, provider.GetRequiredKeyedService<IRmaMemoryPool>("x"));
        await pool.WarmUpAsync(Cancelled);

        for (int i = 0; i < 2; i++)
        {
            if (async)
                await provider.DisposeAsync();
            else
                provider.Dispose();
        }
        Assert.Equal(
            ["provider opened", "endpoint opened", "registered", "endpoint closed", "deregistered", "context closed", "provider disposed"],
            _journal.Events);
    }

    [Fact]
    public async Task A_host_that_is_disposed_without_a_stop_closes_everything()
    {
        IHost host = await StartAsync();
        host.Services.GetRequiredService<IRmaEndpoint>();
        host.Dispose();

        Assert.Equal(["endpoint closed", "deregistered", "context closed", "provider disposed"], _journal.Events.TakeLast(4));
    }

    [Fact]
    public async Task A_pool_that_the_application_disposed_itself_does_not_hinder_the_stop()
    {
        IHost host = await StartAsync();
        IRmaMemoryPool pool = PoolOf(host);
        await pool.DisposeAsync();
        pool.Dispose();
        await host.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);

        Assert.Equal(["provider opened", "registered", "deregistered", "context closed", "provider disposed"], _journal.Events);
    }

    [Fact]
    public async Task Page_locked_memory_is_given_back()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddRmaMemoryPool<HostProvider>();
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        IRmaMemoryPool pool = PoolOf(host);
        pool.Rent(1000).Dispose();
        await host.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);

        RmaPoolStatistics end = pool.GetStatistics();
        Assert.True(end.Registrations > 0);
        Assert.Equal(end.Registrations, end.Deregistrations);
        Assert.Equal(0, end.RegisteredBytes);
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    /// <summary>
    /// Disposes with a time limit: a test that failed may have left a drain that never ends while the clock stands
    /// still.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        foreach (IHost host in _hosts)
            await Task.Run(host.Dispose).WaitAsync(TestHost.Patience);
        _log.Dispose();
    }

    private static RmaHold TimeOut(RmaBuffer buffer)
    {
        RmaHold operation = buffer.Hold();
        operation.Quarantine();
        buffer.Dispose();
        return operation;
    }

    private static IRmaMemoryPool PoolOf(IHost host) => host.Services.GetRequiredService<IRmaMemoryPool>();

    private async Task<IHost> StartAsync(
        string json = "{}",
        Journal? journal = null,
        Action<IServiceCollection, Func<IRmaMemoryPool>>? configure = null)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(json, _log);
        builder.Services.AddSingleton(journal ?? _journal);
        builder.Services.AddSingleton<TimeProvider>(_time);
        builder.Services.AddRmaMemoryPool<RecordingProvider>(builder.Configuration.GetSection("Pool")).Configure(TestHost.SmallPool);
        IHost? host = null;
        configure?.Invoke(builder.Services, () => PoolOf(host!));
        host = builder.Build();
        _hosts.Add(host);
        await host.StartAsync(Cancelled);
        return host;
    }
}
