using System.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Telemetry.Tests.Support;
using OpenTelemetry;
using OpenTelemetry.Trace;
using Xunit;

namespace AllocTools.Telemetry.Tests;

/// <summary>
/// Tests the spans of a caller's operations, and of nothing else: a source is selected by its name, so other tests'
/// spans are seen, too.
/// </summary>
public sealed class SpanTests : IDisposable
{
    private const string CallerName = "AllocTools.Telemetry.Tests.Caller";
    private readonly ActivitySource _callers = new(CallerName);
    private readonly List<Activity> _exported = [];

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public void A_registration_is_a_child_of_the_request_that_needed_it_and_a_warm_rent_has_no_span()
    {
        using TracerProvider tracing = Trace();
        using IRmaContext context = new HostProvider().Open();
        using var pool = new RmaMemoryPool<HostProvider>(context, Options(4 << 20), "spans");
        using (Activity cold = Call("cold"))
            pool.Rent(100).Dispose();
        using (Activity warm = Call("warm"))
            pool.Rent(100).Dispose();

        Activity registration = Assert.Single(ChildrenOf(tracing, "cold"));
        Assert.Equal(("rma.register", ActivityKind.Internal, ActivityStatusCode.Unset), (registration.OperationName, registration.Kind, registration.Status));
        Assert.Equal(("spans", "host"), (registration.GetTagItem("rma.pool.name"), registration.GetTagItem("rma.provider")));
        Assert.Equal(pool.GetStatistics().RegisteredBytes, registration.GetTagItem("rma.length"));
        Assert.Empty(ChildrenOf(tracing, "warm"));
    }

    [Fact]
    public async Task A_registration_for_a_waiter_is_a_child_of_the_waiter_and_not_of_who_made_room()
    {
        using TracerProvider tracing = Trace();
        using IRmaContext context = new HostProvider().Open();
        await using var pool = new RmaMemoryPool<HostProvider>(context, Options(128 << 10), "spans");
        RmaBuffer first = pool.Rent(128 << 10);
        using (Call("waits"))
        {
            Task<RmaBuffer> waiting = pool.RentAsync(64 << 10, Cancelled).AsTask();
            await Task.Run(
                () =>
                {
                    Activity.Current = null;
                    using (Call("makes room"))
                        first.Dispose();
                },
                Cancelled);
            (await waiting).Dispose();
        }

        Assert.Equal(["rma.register"], ChildrenOf(tracing, "waits").Select(s => s.OperationName));
        Assert.DoesNotContain("rma.register", ChildrenOf(tracing, "makes room").Select(s => s.OperationName));
    }

    [Fact]
    public void A_registration_that_fails_says_why()
    {
        using TracerProvider tracing = Trace();
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.Required }).Open();
        using var pool = new RmaMemoryPool<HostProvider>(context, Options(4 << 20), "spans");
        using MissingPages pages = new();
        RmaRegistrationException error;
        using (Call("fails"))
            error = Assert.Throws<RmaRegistrationException>(() => pool.Register(pages.Address, MissingPages.Length));
        Activity span = Assert.Single(ChildrenOf(tracing, "fails"));
        Assert.Equal((ActivityStatusCode.Error, error.Message, "ENOMEM"), (span.Status, span.StatusDescription, span.GetTagItem("error.type")));
    }

    [Fact]
    public void Opening_a_provider_and_giving_memory_back_have_spans()
    {
        using TracerProvider tracing = Trace();
        using (Call("opens"))
        {
            using IRmaContext context = new LibfabricProvider(new LibfabricOptions { Provider = "tcp;ofi_rxm", Node = "127.0.0.1" }).Open();
            using var pool = new RmaMemoryPool<LibfabricProvider>(context, Options(4 << 20), "spans");
            pool.Rent(100).Dispose();
        }
        Assert.Equal(["rma.open", "rma.register", "rma.deregister"], ChildrenOf(tracing, "opens").OrderBy(s => s.StartTimeUtc).Select(s => s.OperationName));

        using (Call("opens nothing"))
            Assert.Throws<RmaProviderException>(() => new LibfabricProvider(new LibfabricOptions { Provider = "tcp;ofi_rxm", Node = "no.such.host.invalid" }).Open());
        Assert.Equal(ActivityStatusCode.Error, Assert.Single(ChildrenOf(tracing, "opens nothing")).Status);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Operations_have_spans_when_asked_for(bool asked)
    {
        using TracerProvider tracing = Trace(endpointOperations: asked);
        using IRmaContext context = new LibfabricProvider(new LibfabricOptions { Provider = "tcp;ofi_rxm", Node = "127.0.0.1" }).Open();
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, Options(4 << 20), "spans");
        await using IRmaEndpoint endpoint = context.OpenEndpoint();
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        using RmaBuffer buffer = pool.Rent(100);
        using (Call("sends"))
        {
            ValueTask<RmaReceiveResult> receiving = endpoint.ReceiveAsync(buffer.Slice(0, 50), cancellationToken: Cancelled);
            await endpoint.SendAsync(buffer.Slice(50, 40), self, cancellationToken: Cancelled);
            Assert.Equal(40, (await receiving).Length);
        }
        using (Call("waits in vain"))
            await Assert.ThrowsAsync<RmaTimeoutException>(() => endpoint.ReceiveAsync(buffer.Slice(0, 50), TimeSpan.FromMilliseconds(5), Cancelled).AsTask());

        Activity[] sends = ChildrenOf(tracing, "sends");
        Assert.Equal(asked ? ["rma.receive", "rma.send"] : [], sends.Select(s => s.OperationName).Order(StringComparer.Ordinal));
        Assert.All(sends, s => Assert.Equal((ActivityKind.Client, "tcp;ofi_rxm"), (s.Kind, s.GetTagItem("rma.provider"))));
        Activity[] inVain = ChildrenOf(tracing, "waits in vain");
        Assert.Equal(asked ? ["ETIMEDOUT"] : [], inVain.Select(s => s.GetTagItem("error.type")));
    }

    [Fact]
    public async Task A_batch_has_one_span_with_the_number_of_its_operations()
    {
        using TracerProvider tracing = Trace(endpointOperations: true);
        using IRmaContext context = new HostProvider().Open();
        await using var pool = new RmaMemoryPool<HostProvider>(context, Options(4 << 20), "spans");
        await using IRmaEndpoint endpoint = context.OpenEndpoint();
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        using RmaBuffer buffer = pool.Rent(200);
        RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(self, exposure.Remote);
        RmaBatch batch = endpoint.CreateBatch();
        for (int i = 0; i < 5; i++)
            batch.Write(buffer.Slice(0, 100), remote.Slice(100, 100));
        using (Call("runs"))
            await batch.RunAsync(cancellationToken: Cancelled);
        exposure.Dispose();
        batch.Clear();
        batch.Send(buffer, self);
        using (Call("runs in vain"))
            await Assert.ThrowsAsync<RmaBatchException>(() => batch.RunAsync(TimeSpan.FromMilliseconds(5), Cancelled).AsTask());

        Activity run = Assert.Single(ChildrenOf(tracing, "runs"));
        Assert.Equal(("rma.batch", ActivityKind.Client, ActivityStatusCode.Unset), (run.OperationName, run.Kind, run.Status));
        Assert.Equal(("host", (object)5, (object)500L), (run.GetTagItem("rma.provider"), run.GetTagItem("rma.batch.count"), run.GetTagItem("rma.length")));
        Activity inVain = Assert.Single(ChildrenOf(tracing, "runs in vain"));
        Assert.Equal(("ETIMEDOUT", ActivityStatusCode.Error), (inVain.GetTagItem("error.type"), inVain.Status));
    }

    public void Dispose() => _callers.Dispose();

    private static RmaMemoryPoolOptions Options(long cap) => new()
    {
        MaxRegisteredBytes = cap,
        MaxIdleDirectBytes = 0,
        SizeClasses = { new() { BlockSize = 64 << 10 } },
        Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
    };

    private TracerProvider Trace(bool endpointOperations = false) =>
        Sdk.CreateTracerProviderBuilder().AddSource(CallerName).AddAllocToolsInstrumentation(endpointOperations).AddInMemoryExporter(_exported).Build();

    private Activity Call(string name) => _callers.StartActivity(name)!;

    private Activity[] ChildrenOf(TracerProvider tracing, string name)
    {
        Assert.True(tracing.ForceFlush());
        Activity[] exported = [.. _exported];
        Activity caller = Assert.Single(exported, a => a.Source.Name == CallerName && a.OperationName == name);
        return [.. exported.Where(a => a.ParentSpanId == caller.SpanId && a.TraceId == caller.TraceId)];
    }
}
