namespace AllocTools.Tests.Model.Steps;

/// <summary>Ends a thread together with its magazines.</summary>
internal sealed record EndThread(int Ended) : Step
{
    public override void Run(PoolModel model) => model.EndThread(Ended);
}
