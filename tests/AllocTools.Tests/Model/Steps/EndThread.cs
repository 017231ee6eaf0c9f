namespace AllocTools.Tests.Model.Steps;

/// <summary>A thread dies, with what is in its magazines.</summary>
internal sealed record EndThread(int Ended) : Step
{
    public override void Run(PoolModel model) => model.EndThread(Ended);
}
