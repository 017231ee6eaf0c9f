using System.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Pooling;
using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>The spans. Those of endpoint operations have a separate source, so that listeners to the first source don't get them.</summary>
/// <remarks>It is static, because listeners find a source by its name; it has no state.</remarks>
internal static class RmaActivities
{
    public static readonly ActivitySource Source = new(AllocToolsDiagnostics.ActivitySourceName);

    public static readonly ActivitySource Operations = new(AllocToolsDiagnostics.OperationActivitySourceName);

    /// <summary>Whether there is a listener to the spans of endpoint operations.</summary>
    public static bool OperationsAreTraced => Operations.HasListeners();

    /// <summary>Begins the span of a registration or deregistration.</summary>
    public static RmaSpan Start(string name, PoolSettings pool, long length)
    {
        Activity? span = Begin(Source, name, ActivityKind.Internal, pool.Logger);
        if (span is { IsAllDataRequested: true })
        {
            span.SetTag(RmaTags.PoolName, pool.Name);
            span.SetTag(RmaTags.Provider, pool.ProviderName);
            span.SetTag(RmaTags.Length, length);
        }
        return new RmaSpan(span, pool.Logger);
    }

    /// <summary>Begins the span of opening a provider.</summary>
    public static RmaSpan StartOpen(string provider, ILogger logger)
    {
        Activity? span = Begin(Source, "rma.open", ActivityKind.Internal, logger);
        span?.SetTag(RmaTags.Provider, provider);
        return new RmaSpan(span, logger);
    }

    /// <summary>Begins the span of a connection's set-up.</summary>
    public static RmaSpan StartConnection(string name, ActivityKind kind, string pool, string provider, ILogger logger)
    {
        Activity? span = Begin(Source, name, kind, logger);
        span?.SetTag(RmaTags.PoolName, pool);
        span?.SetTag(RmaTags.Provider, provider);
        return new RmaSpan(span, logger);
    }

    /// <summary>Begins the span of an endpoint operation.</summary>
    public static RmaSpan StartOperation(RmaOperationKind kind, string provider, long length, ILogger logger)
    {
        Activity? span = Begin(Operations, $"rma.{EndpointCounters.NameOf(kind)}", ActivityKind.Client, logger);
        if (span is { IsAllDataRequested: true })
        {
            span.SetTag(RmaTags.Provider, provider);
            span.SetTag(RmaTags.Operation, EndpointCounters.NameOf(kind));
            span.SetTag(RmaTags.Length, length);
        }
        return new RmaSpan(span, logger);
    }

    /// <summary>Begins the span of a batch of operations.</summary>
    public static RmaSpan StartBatch(string provider, int count, long length, ILogger logger)
    {
        Activity? span = Begin(Operations, "rma.batch", ActivityKind.Client, logger);
        if (span is { IsAllDataRequested: true })
        {
            span.SetTag(RmaTags.Provider, provider);
            span.SetTag(RmaTags.Count, count);
            span.SetTag(RmaTags.Length, length);
        }
        return new RmaSpan(span, logger);
    }

    private static Activity? Begin(ActivitySource source, string name, ActivityKind kind, ILogger logger)
    {
        Activity? callers = Activity.Current;
        try
        {
            return source.StartActivity(name, kind);
        }
        catch (Exception e)
        {
            // The span may have begun.
            Activity.Current = callers;
            ListenerFailures.Report(logger, e);
            return null;
        }
    }
}
