using System.Diagnostics;
using AllocTools.Pooling;

namespace AllocTools.Diagnostics;

/// <summary>The spans. Those of endpoint operations have a source of their own, so that who listens to the first gets none.</summary>
/// <remarks>Static, as listeners go by the name of a source; nothing is kept here.</remarks>
internal static class RmaActivities
{
    public static readonly ActivitySource Source = new(AllocToolsDiagnostics.ActivitySourceName);

    public static readonly ActivitySource Operations = new(AllocToolsDiagnostics.OperationActivitySourceName);

    /// <summary>Somebody listens to the spans of endpoint operations.</summary>
    public static bool OperationsAreTraced => Operations.HasListeners();

    /// <summary>Begins the span of a registration, or of its undoing.</summary>
    public static Activity? Start(string name, PoolEngine pool, long length)
    {
        Activity? span = Source.StartActivity(name, ActivityKind.Internal);
        if (span is { IsAllDataRequested: true })
        {
            span.SetTag(RmaTags.PoolName, pool.Name);
            span.SetTag(RmaTags.Provider, pool.Context.Traits.ProviderName);
            span.SetTag(RmaTags.Length, length);
        }
        return span;
    }

    /// <summary>Begins the span of opening a provider.</summary>
    public static Activity? StartOpen(string provider)
    {
        Activity? span = Source.StartActivity("rma.open", ActivityKind.Internal);
        span?.SetTag(RmaTags.Provider, provider);
        return span;
    }

    /// <summary>Begins the span of an endpoint operation.</summary>
    public static Activity? StartOperation(RmaOperationKind kind, string provider, long length)
    {
        Activity? span = Operations.StartActivity($"rma.{EndpointCounters.NameOf(kind)}", ActivityKind.Client);
        if (span is { IsAllDataRequested: true })
        {
            span.SetTag(RmaTags.Provider, provider);
            span.SetTag(RmaTags.Operation, EndpointCounters.NameOf(kind));
            span.SetTag(RmaTags.Length, length);
        }
        return span;
    }

    /// <summary>Says why a span ends badly.</summary>
    public static void Fail(Activity? span, Exception error)
    {
        if (span is null)
            return;
        span.SetTag(RmaTags.ErrorType, RmaTags.ErrorTypeOf(error));
        span.SetStatus(ActivityStatusCode.Error, error.Message);
    }
}
