namespace AllocTools.Tests.Model.Steps;

/// <summary>Has the provider refuse the next registrations.</summary>
internal sealed record FailRegistrations(int Count) : Step
{
    public override void Run(PoolModel model) => model.Context.FailNext = Count;
}
