using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace AllocTools.Hosting.Health;

/// <summary>Reports the health of a pool.</summary>
/// <remarks>
/// Unhealthy (or the status of the registration): the provider is lost, the warm-up failed, or the pool is closed.
/// Degraded: a peer blocks others, much of the cap is rented, a request has waited for a long time, or a registration
/// failed recently. Idle memory counts as free, because it is deregistered when room is needed.
/// </remarks>
internal sealed class RmaMemoryPoolHealthCheck(IRmaMemoryPool pool, PoolWarmUpState warmUp, RmaMemoryPoolHealthOptions options, TimeProvider time) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        RmaPoolStatistics now = pool.GetStatistics();
        Dictionary<string, object> data = DataOf(now);
        if (pool.Context.Failure is { } lost)
            return Result(context.Registration.FailureStatus, $"provider '{pool.Context.Traits.ProviderName}' is lost: {lost.Message}", lost);
        if (warmUp.Failure is { } cold)
            return Result(context.Registration.FailureStatus, $"the warm-up failed: {cold.Message}", cold);
        if (now.IsClosed)
            return Result(context.Registration.FailureStatus, "it is closed", null);
        string[] troubles = [.. Troubles(now)];
        return troubles.Length == 0
            ? Result(HealthStatus.Healthy, warmUp.IsDone ? "it is ready" : "it is ready, and still warming up", null)
            : Result(HealthStatus.Degraded, string.Join("; ", troubles), null);

        Task<HealthCheckResult> Result(HealthStatus status, string what, Exception? cause) =>
            Task.FromResult(new HealthCheckResult(status, $"Pool '{pool.Name}': {what}.", cause, data));
    }

    private IEnumerable<string> Troubles(RmaPoolStatistics now)
    {
        foreach (string hindrance in pool.Context.Hindrances)
            yield return hindrance;
        double share = (double)now.RentedBytes / now.LimitBytes;
        if (share >= options.MaxRentedShare)
            yield return FormattableString.Invariant($"{InWords.Size(now.RentedBytes)} of {InWords.Size(now.LimitBytes)} are rented ({share:P0}). Return buffers sooner, or raise MaxRegisteredBytes");
        if (now.PendingRequests != 0 && now.OldestPendingRequest >= options.MaxWait)
            yield return $"{InWords.Count(now.PendingRequests, "request waits", "requests wait")} for room, the oldest for {now.OldestPendingRequest}";
        if (now.LastRegistrationFailure is { } failure && time.GetUtcNow() - failure.Time < options.RegistrationFailurePeriod)
            yield return $"a registration failed at {failure.Time:O}: {failure.Message}";
    }

    private Dictionary<string, object> DataOf(RmaPoolStatistics now)
    {
        RmaProviderTraits traits = pool.Context.Traits;
        var data = new Dictionary<string, object>
        {
            ["provider"] = traits.ProviderName,
            ["warmedUp"] = warmUp.IsDone,
            ["limitBytes"] = now.LimitBytes,
            ["registeredBytes"] = now.RegisteredBytes,
            ["rentedBytes"] = now.RentedBytes,
            ["rentedBuffers"] = now.RentedBuffers,
            ["quarantinedBuffers"] = now.QuarantinedBuffers,
            ["pendingRequests"] = now.PendingRequests,
            ["oldestPendingRequest"] = now.OldestPendingRequest,
            ["hits"] = now.Hits,
            ["misses"] = now.Misses,
            ["rejections"] = now.Rejections,
            ["registrations"] = now.Registrations,
            ["deregistrations"] = now.Deregistrations,
            ["registrationFailures"] = now.RegistrationFailures,
            ["deregistrationFailures"] = now.DeregistrationFailures,
            ["leaks"] = now.Leaks,
        };
        if (traits.LibraryVersion is { } version)
            data["libraryVersion"] = version.ToString();
        if (now.LastRegistrationFailure is { } failure)
            data["lastRegistrationFailure"] = failure.Message;
        return data;
    }
}
