namespace AllocTools.Tests.Model.Steps;

/// <summary>Cancels a waiting request.</summary>
internal sealed record Cancel(int Waiter) : Step
{
    public override void Run(PoolModel model) => Pick(model.Waiting, Waiter)?.Cancel();
}
